"""torch.export takes a second for each network: here it reads each architecture once, whatever the weights.

A graph is taken again for a network of the very same modules, plain attributes and shapes, with that network's own
tensors; that both then answer alike is checked by ``capture`` as ever. tests/networks do without.
"""

from collections.abc import Callable, Hashable
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from emobench.networks.program import Program

BARE = frozenset(vars(nn.Module()))
"""What every module has: its tensors and modules, which are looked at one by one, and its hooks."""
CONSTANT = (bool, int, float, str, bytes, type(None), type, FunctionType, BuiltinFunctionType, torch.dtype)


class _Unknown(Exception):
    """A network holds something that can't be compared with another's."""


def remembered(export: Callable[[nn.Module, Tensor], Program]) -> Callable[[nn.Module, Tensor], Program]:
    """The same function of a network and images, which keeps its graphs."""
    kept: dict[Hashable, Program] = {}

    def exported(model: nn.Module, example: Tensor) -> Program:
        try:
            key = (*_structure(model), tuple(example.shape), example.dtype, example.device)
        except _Unknown:
            return export(model, example)
        if key not in kept:
            kept[key] = export(model, example)
        known = kept[key]
        own = dict(_tensors(model))
        return Program(known.graph, {name: own.get(name, value) for name, value in known.tensors.items()}, known.images)

    return exported


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]


def _structure(model: nn.Module) -> tuple[Hashable, ...]:
    """All of a network that its graph can hang on, but for the values of its tensors."""
    first: dict[int, str] = {}
    tensors = tuple(
        (name, first.setdefault(id(value), name), tuple(value.shape), value.stride(), value.dtype, value.requires_grad)
        for name, value in _tensors(model)
    )
    modules = tuple(
        (
            name,
            type(module),
            module.training,
            _plain({key: value for key, value in vars(module).items() if key not in BARE}),
        )
        for name, module in model.named_modules(remove_duplicate=False)
    )
    if any(vars(module)[key] for module in model.modules() for key in BARE if key.endswith("_hooks")):
        raise _Unknown
    return modules, tensors


def _plain(value: Any) -> Hashable:
    if isinstance(value, CONSTANT):
        return type(value), value
    if isinstance(value, list | tuple):
        return type(value), tuple(map(_plain, value))
    if isinstance(value, dict):
        return dict, tuple((_plain(key), _plain(one)) for key, one in value.items())
    raise _Unknown
