"""The layers of a network whose units can be recorded and edited: found by their weights, in functions too.

A layer is a convolution or a linear operation whose weight is a parameter. Where its units are follows from the
operation, never from the number of dimensions: axis 1 after a convolution, the last one after a linear layer.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from emobench.networks.card import LayerCard
from emobench.networks.front import front_of
from emobench.networks.graph import ExportError, capture
from emobench.networks.program import Program
from emobench.networks.whole import module_layers

aten = torch.ops.aten
CONVOLUTIONS = {
    getattr(getattr(aten, kind), form): kind
    for kind in ("conv1d", "conv2d", "conv3d")
    for form in ("default", "padding")
}
GROUPS = 6
"""Which argument of a convolution the groups are."""


@dataclass(frozen=True)
class Layer:
    """A weight and every operation (name of a node) that uses it; ``units`` are the weight's rows."""

    name: str
    kind: str
    weight: str
    bias: str | None
    units: int
    axis: int
    sites: tuple[str, ...]


def layers_of(program: Program) -> dict[str, Layer]:
    """Every layer by name, in the order of computation.

    A weight that is used otherwise too (an embedding, say) is left out: scaling its rows scales more than outputs.
    """
    uses: dict[str, list[fx.Node]] = {}
    for node in program.graph.nodes:
        if node.target is aten.linear.default or node.target in CONVOLUTIONS:
            weight = node.args[1]
            bias = node.args[2] if len(node.args) > 2 else None
            if weight.op == "get_attr" and (bias is None or bias.op == "get_attr"):
                uses.setdefault(weight.target, []).append(node)
    found = {}
    for weight, sites in uses.items():
        users = {user for node in program.graph.nodes if node.target == weight for user in node.users}
        biases = {_bias(site) for site in sites}
        if users == set(sites) and len(biases) == 1:
            name = weight.removesuffix("weight").rstrip("._")
            shape = program.tensors[weight].shape
            axis = 1 if sites[0].target in CONVOLUTIONS else -1
            names = tuple(site.name for site in sites)
            found[name] = Layer(name, _kind(sites[0], shape), weight, biases.pop(), shape[0], axis, names)
    return found


def unit_layers(model: nn.Module, example: Tensor) -> list[LayerCard]:
    """The layers of a network, in the order of computation.

    Args:
        model: in evaluation mode.
        example: what it takes, at least one image.

    Raises:
        ValueError: the model is in training mode.
        UserError: the network puts out no logits.
    """
    try:
        program = capture(model, example)
    except ExportError:
        return module_layers(model, example)
    prefixes = _prefixes(program)
    return [_card(program, layer, prefixes) for layer in layers_of(program).values()]


def _card(program: Program, layer: Layer, prefixes: Mapping[str, int]) -> LayerCard:
    sites = [program.node(name) for name in layer.sites]
    first, quick = sites[0], False
    if len(sites) == 1:
        ones = program.tensors[layer.weight].new_ones(layer.units)
        front = front_of(program, first, ones, layer.axis, depends_on(program, sites))
        quick = front.linear is not None
    shape = first.meta["sizes"]
    outputs = sum(math.prod(site.meta["sizes"]) for site in sites) // _images(program)
    tokens = 0
    if layer.axis == -1 and len(shape) in (2, 3) and (len(shape) == 3 or image_axis(first, program.images) is None):
        # Tokens may come before the images, or be folded with them, as in torch's own attention.
        tokens = math.prod(shape[:-1]) // _images(program)
    return LayerCard(
        name=layer.name,
        kind=layer.kind,
        units=layer.units,
        axis=layer.axis,
        grid=tuple(shape[2:]) if layer.axis == 1 else tuple(shape[1:-1]) if len(shape) == 4 else (),
        tokens=tokens,
        prefix=min(prefixes.get(first.name, 0), max(0, tokens - 1)),
        weight=layer.weight,
        bias=layer.bias,
        calls=len(sites),
        products=outputs * program.tensors[layer.weight][0].numel(),
        way="quick" if quick else "cut",
    )


def depends_on(program: Program, sites: list[fx.Node]) -> set[fx.Node]:
    """The nodes whose values an edit at these changes, themselves included."""
    depends = set(sites)
    for node in program.graph.nodes:
        if any(source in depends for source in node.all_input_nodes):
            depends.add(node)
    return depends


def image_axis(node: fx.Node, images: str) -> int | None:
    """Which axis of a node's value is the images; None where they are folded with something else (windows)."""
    shape = node.meta["shape"]
    return shape.index(images) if images in shape else None


def _images(program: Program) -> int:
    return next(node for node in program.graph.nodes if node.op == "placeholder").meta["sizes"][0]


def _bias(site: fx.Node) -> str | None:
    return site.args[2].target if len(site.args) > 2 and site.args[2] is not None else None


def _kind(site: fx.Node, shape: torch.Size) -> str:
    groups = site.args[GROUPS] if site.target in CONVOLUTIONS and len(site.args) > GROUPS else 1
    if groups > 1:
        return "depthwise" if shape[1] == 1 else "grouped"
    return CONVOLUTIONS.get(site.target, "linear")


def _prefixes(program: Program) -> dict[str, int]:
    """How many tokens before the image's own each value has: learned ones, joined in front (cls, registers).

    Known by what they depend on: the number of images at most, never the images.
    """
    of_images: set[fx.Node] = set()
    found: dict[str, int] = {}
    for node in program.graph.nodes:
        inputs = [source for source in node.all_input_nodes if source in of_images]
        if node.op == "placeholder" or (inputs and node.target is not aten.sym_size.int):
            of_images.add(node)
        found[node.name] = max((found[source.name] for source in inputs), default=0)
        if node.target is aten.cat.default and node in of_images and len(node.args) > 1 and node.args[1] == 1:
            learned = 0
            for part in node.args[0]:
                if part in of_images:
                    break
                learned += part.meta["sizes"][1]
            if len(node.meta["sizes"]) == 3:
                found[node.name] += learned
    return found
