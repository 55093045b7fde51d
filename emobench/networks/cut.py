"""Any network cut in two at one or several layers: what their edits cannot change, run once, and the rest.

"Depends on a scale or a shift" is the whole rule. The prefix gives the first edited outputs without their bias, and
every other value that the rest needs (residuals); shared modules, branches and several layers need nothing more.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, fx, nn

from emobench.errors import UserError, unknown_name
from emobench.networks.edited_nodes import affine, beyond, bias_free
from emobench.networks.graph import ExportError, answer, answers_alike, capture
from emobench.networks.layers import Layer, depends_on, layers_of
from emobench.networks.network import Network, module_of
from emobench.networks.program import Program
from emobench.networks.ranges import Range
from emobench.networks.whole import scaled, unit_modules

aten = torch.ops.aten
THRESHOLD = "range_threshold_"
"""What a layer's name is added to for its threshold's."""


class Cut:
    """``suffix(prefix(inputs), scales)`` are the logits of an edit of ``layers``. It can be pickled.

    A layer with a range is scaled beyond a threshold alone; its bias stands before that.

    Attributes:
        layers: names, in the order that was asked for.
        units: layer to how many rows its weight has.
        bias: layer to its own bias (units,); zeros without one.
        way: ``cut``, or ``whole`` if the network has no graph; ``reason`` then says why.
    """

    way: Literal["cut"] = "cut"
    reason = ""

    def __init__(self, program: Program, layers: Sequence[Layer], ranges: Mapping[str, Range]) -> None:
        self.layers = tuple(layer.name for layer in layers)
        self.axis = {layer.name: layer.axis for layer in layers}
        self.units = {layer.name: layer.units for layer in layers}
        self.calls = {layer.name: len(layer.sites) for layer in layers}
        self.bias = {
            layer.name: program.tensors[layer.weight].new_zeros(layer.units)
            if layer.bias is None
            else program.tensors[layer.bias]
            for layer in layers
        }
        self.before, self.after, self.edited = _split(program, layers, ranges)

    def prefix(self, inputs: Tensor) -> tuple:
        """All values that the suffix needs, for what the network takes. Some say how many images there are."""
        return self.before(inputs)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each value of ``prefix`` is: ``rows`` (images first), ``images`` (their number) or ``other``."""
        outputs = next(node for node in self.before.graph.nodes if node.op == "output").args[0]
        return tuple(_kind(node, self.before.images) for node in outputs)

    def suffix(self, live: tuple, scales: Mapping[str, Tensor], shifts: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits (images, classes), differentiable in scales and shifts.

        Args:
            live: from ``prefix``, the same images.
            scales: layer to (units,); a layer that isn't named stays as it is.
            shifts: layer to (units,); where none is named the layer's own bias stays.
        """
        pairs = []
        for layer in self.layers:
            bias = self.bias[layer]
            pairs += [scales.get(layer, torch.ones_like(bias)), (shifts or {}).get(layer, bias)]
        return self.after(*live, *pairs)


class WholeCut:
    """The same for a network without a graph: all of it runs for every edit, with hooks that scale and shift."""

    way: Literal["whole"] = "whole"

    def __init__(
        self, network: nn.Module | Network, layers: Sequence[str], ranges: Mapping[str, Range], reason: str
    ) -> None:
        # A Network is kept as such: it can be sent to other processes where a user's own class can't.
        self.network = network
        modules = unit_modules(self.model)
        for layer in layers:
            if layer not in modules:
                raise unknown_name("layer", layer, modules)
        self.layers, self.ranges, self.reason = tuple(layers), ranges, reason
        self.calls = dict.fromkeys(layers, 1)
        self.axis = {layer: -1 if isinstance(modules[layer], nn.Linear) else 1 for layer in layers}
        self.units = {layer: len(modules[layer].weight) for layer in layers}
        biases = {layer: modules[layer].bias for layer in layers}
        self.bias = {
            layer: modules[layer].weight.new_zeros(self.units[layer]) if bias is None else bias.detach()
            for layer, bias in biases.items()
        }

    kinds = ("rows",)

    @property
    def model(self) -> nn.Module:
        """The network's module."""
        return module_of(self.network)

    def prefix(self, inputs: Tensor) -> tuple:
        """The inputs themselves."""
        return (inputs,)

    def suffix(self, live: tuple, scales: Mapping[str, Tensor], shifts: Mapping[str, Tensor] | None = None) -> Tensor:
        """As for ``Cut``."""
        with scaled(self.model, scales, shifts or {}, self.ranges):
            return answer(self.model, live[0])


def cut(
    model: nn.Module | Network, layers: str | Sequence[str], example: Tensor, ranges: Mapping[str, Range] | None = None
) -> Cut | WholeCut:
    """Cuts a network at the layers that are to be edited.

    Args:
        model: in evaluation mode; or a Network.
        layers: a layer, or several, each once.
        example: what the network takes, at least one image.
        ranges: layer to the range that its scales act on; all of what a layer puts out where none is named.

    Raises:
        UserError: no such layer, a network that answers differently twice, or one that puts out no logits.
        ValueError: no layer, a layer twice, or the model is in training mode.
    """
    network, model = model, module_of(model)
    names = [layers] if isinstance(layers, str) else list(layers)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"layers to edit are {names}; expected at least one, each once")
    if model.training:
        raise ValueError("the model is in training mode: dropout and BatchNorm would change with every run")
    if not answers_alike(model, example[:2]):
        raise UserError(
            "the network answers differently when asked twice (a dropout that stays on in evaluation?); "
            "no edit of it can be judged"
        )
    try:
        program = capture(model, example)
    except ExportError as error:
        return WholeCut(network, names, ranges or {}, str(error))
    known = layers_of(program)
    for name in names:
        if name not in known:
            raise unknown_name("layer", name, known)
    return Cut(program, [known[name] for name in names], ranges or {})


def _kind(node: fx.Node, images: str) -> str:
    if node.meta["shape"]:
        return "rows" if node.meta["shape"][0] == images else "other"
    return "images" if node.target is aten.sym_size.int and node.args[1] == 0 else "other"


def taken(live: tuple, kinds: Sequence[str], rows: Tensor) -> tuple:
    """The values of some of the images; none of them may be ``other``."""
    return tuple(value[rows] if kind == "rows" else len(rows) for value, kind in zip(live, kinds, strict=True))


def joined(parts: Sequence[tuple], kinds: Sequence[str]) -> tuple:
    """The values of several blocks as those of one; none of them may be ``other``."""
    columns = zip(*parts, strict=True)
    return tuple(torch.cat(some) if kind == "rows" else sum(some) for some, kind in zip(columns, kinds, strict=True))


def _split(
    program: Program, layers: Sequence[Layer], ranges: Mapping[str, Range]
) -> tuple[Program, Program, dict[str, str]]:
    """The programs before and after the edits, and layer to the name of its first edited output."""
    of = {site: layer for layer in layers for site in layer.sites}
    nodes = list(program.graph.nodes)
    depends = depends_on(program, [node for node in nodes if node.name in of])
    first = {node for node in nodes if node.name in of and node.args[0] not in depends}
    live = _live(nodes, depends, first)
    before, after = fx.Graph(), fx.Graph()
    known: dict[fx.Node, fx.Node] = {}
    edited: dict[str, str] = {}
    for node in nodes:
        if node.op != "output" and (node not in depends or node in first):
            known[node] = before.node_copy(node, known.__getitem__)
            if node in first:
                known[node].args = bias_free(node, known)
    before.output(tuple(known[node] for node in live))
    before.eliminate_dead_code()
    known = {}
    for node in live:
        known[node] = placeholder(after, node)
    pairs = {
        layer.name: (after.placeholder(f"scale_{i}"), after.placeholder(f"shift_{i}")) for i, layer in enumerate(layers)
    }
    for node in nodes:
        if node.op == "get_attr":
            known[node] = after.node_copy(node)
        elif node.op == "output":
            after.output(known[node.args[0]])
        elif node.name in of:
            layer = of[node.name]
            known[node] = _edited(after, node, node in first, known, layer, pairs[layer.name], ranges)
            edited.setdefault(layer.name, known[node].name)
        elif node in depends:
            known[node] = after.node_copy(node, known.__getitem__)
    after.eliminate_dead_code()
    tensors, images = program.tensors | _thresholds(program, ranges), program.images
    return Program(before, tensors, images), Program(after, tensors, images), edited


def _edited(
    graph: fx.Graph, node: fx.Node, cached: bool, known: Mapping[fx.Node, fx.Node], layer: Layer,
    pair: tuple[fx.Node, fx.Node], ranges: Mapping[str, Range],
) -> fx.Node:  # fmt: skip
    """What an edited layer puts out: scaled and shifted, or scaled beyond its threshold."""
    if layer.name not in ranges:
        return affine(graph, node, cached, known, pair, layer.axis)
    output, threshold = affine(graph, node, cached, known, (None, pair[1]), layer.axis), f"{THRESHOLD}{layer.name}"
    return beyond(graph, output, pair[0], graph.get_attr(threshold), ranges[layer.name].above, layer.axis)


def _thresholds(program: Program, ranges: Mapping[str, Range]) -> dict[str, Tensor]:
    return {f"{THRESHOLD}{layer}": one.threshold.to(program.device) for layer, one in ranges.items()}


def _live(nodes: list[fx.Node], depends: set[fx.Node], first: set[fx.Node]) -> list[fx.Node]:
    """What the rest needs: the first edited outputs, and whatever doesn't depend on an edit and is used later."""
    found: dict[fx.Node, None] = {}
    for node in nodes:
        if node in first:
            found[node] = None
        elif node in depends:
            found |= {n: None for n in node.all_input_nodes if n not in depends and n.op != "get_attr"}
    return list(found)


def placeholder(graph: fx.Graph, node: fx.Node) -> fx.Node:
    """A new input of a graph that stands for another graph's node."""
    new = graph.placeholder(node.name)
    new.meta = dict(node.meta)
    return new
