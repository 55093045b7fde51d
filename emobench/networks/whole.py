"""Networks without a graph: their layers by module, and edits by hooks, all of the network for each."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from emobench.errors import unknown_name
from emobench.functional.edits import ranged
from emobench.networks.card import LayerCard
from emobench.networks.graph import answer

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

WHOLE_COPIES = 400
"""How many copies of an input a pass or a gradient through a network without a graph takes, for want of knowing."""


UnitModule = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def unit_modules(model: nn.Module) -> dict[str, UnitModule]:
    """The convolutions and linear layers by name, in the order of definition."""
    return {name: module for name, module in model.named_modules() if isinstance(module, (nn.Linear, *CONVOLUTIONS))}


@torch.no_grad()
def module_layers(model: nn.Module, example: Tensor) -> list[LayerCard]:
    """The layers whose modules run in a forward pass, in the order of computation."""
    modules = unit_modules(model)
    shapes: dict[str, list[tuple[int, ...]]] = {}

    def watch(name: str):
        return lambda module, inputs, output: shapes.setdefault(name, []).append(tuple(output.shape))

    handles = [module.register_forward_hook(watch(name)) for name, module in modules.items()]
    try:
        answer(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return [_card(name, modules[name], seen, len(example)) for name, seen in shapes.items()]


@contextmanager
def scaled(
    model: nn.Module,
    scales: Mapping[str, Tensor],
    shifts: Mapping[str, Tensor | None],
    ranges: Mapping[str, tuple[Tensor, bool]],
) -> Iterator[nn.Module]:
    """The network with each layer's output replaced by scale * (bias-free output) + shift while the block runs.

    ``shifts``: None for the layer's own bias. ``ranges``: layers that are scaled beyond a threshold alone, see
    emobench.networks.ranges.
    """
    modules, handles = unit_modules(model), []
    try:
        for name, scale in scales.items():
            if name not in modules:
                raise unknown_name("layer", name, modules)
            handles.append(modules[name].register_forward_hook(_scaler(scale, shifts.get(name), ranges.get(name))))
        yield model
    finally:
        for handle in handles:
            handle.remove()


def _scaler(scale: Tensor, shift: Tensor | None, where: tuple[Tensor, bool] | None):
    def hook(module: UnitModule, inputs: tuple, output: Tensor) -> Tensor:
        shape = (-1, *[1] * (output.ndim - 2)) if isinstance(module, CONVOLUTIONS) else (-1,)
        bias = torch.zeros_like(scale) if module.bias is None else module.bias.detach()
        if where is not None:
            threshold, above = where[0].to(scale).reshape(shape), where[1]
            moved = output if shift is None else output + (shift - bias).reshape(shape)
            return ranged(moved, scale.reshape(shape), threshold, above=above)
        raw = output - bias.reshape(shape)
        return torch.addcmul((bias if shift is None else shift).reshape(shape), raw, scale.reshape(shape))

    return hook


def _card(name: str, module: UnitModule, shapes: list[tuple[int, ...]], images: int) -> LayerCard:
    convolution = isinstance(module, CONVOLUTIONS)
    groups = getattr(module, "groups", 1)
    kind = type(module).__name__.lower() if groups == 1 else "depthwise" if module.weight.shape[1] == 1 else "grouped"
    shape = shapes[0]
    return LayerCard(
        name=name,
        kind=kind if convolution else "linear",
        units=len(module.weight),
        axis=1 if convolution else -1,
        grid=shape[2:] if convolution else shape[1:-1] if len(shape) == 4 else (),
        tokens=shape[1] if not convolution and len(shape) == 3 else 0,
        prefix=0,
        weight=f"{name}.weight",
        bias=None if module.bias is None else f"{name}.bias",
        calls=len(shapes),
        products=sum(map(math.prod, shapes)) // images * module.weight[0].numel(),
        way="whole",
    )
