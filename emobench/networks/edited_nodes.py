"""The operations that an edit puts into a network's graph in place of an edited layer's own."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten


def affine(
    graph: fx.Graph,
    node: fx.Node,
    cached: bool,
    known: Mapping[fx.Node, fx.Node],
    pair: tuple[fx.Node | None, fx.Node],
    axis: int,
) -> fx.Node:
    """Scale * (bias-free output) + shift, with scale (None: 1) and shift along the units.

    Args:
        graph: where to.
        node: the layer's operation in the network's own graph.
        cached: whether its bias-free output is there already.
        known: nodes of the network's graph -> those of ``graph``.
        pair: scale and shift, (units,).
        axis: of the units.
    """
    raw = known[node] if cached else graph.node_copy(node, known.__getitem__)
    if not cached:
        raw.args = bias_free(node, known)
    scale, shift = (None if value is None else _along(graph, value, node, axis) for value in pair)
    if scale is None:
        result = graph.call_function(aten.add.Tensor, (raw, shift))
    else:
        result = graph.call_function(aten.addcmul.default, (shift, raw, scale))
    result.meta = dict(node.meta)
    return result


def beyond(graph: fx.Graph, node: fx.Node, factor: fx.Node, threshold: fx.Node, above: bool, axis: int) -> fx.Node:
    """What lies beyond a threshold scaled (see emobench.functional.edits.ranged).

    Args:
        graph: where to.
        node: what the layer puts out.
        factor: (units,).
        threshold: (units,).
        above: whether what is above is scaled, or what is below.
        axis: of the units.
    """
    factor, threshold = (_along(graph, value, node, axis) for value in (factor, threshold))
    pair = (node, threshold) if above else (threshold, node)
    distance = graph.call_function(aten.sub.Tensor, pair)
    outside = graph.call_function(aten.relu.default, (distance,))
    gain = graph.call_function(aten.sub.Scalar if above else aten.rsub.Scalar, (factor, 1.0))
    result = graph.call_function(aten.addcmul.default, (node, outside, gain))
    for one in (distance, outside, result):
        one.meta = dict(node.meta)
    return result


def bias_free(node: fx.Node, known: Mapping[fx.Node, fx.Node]) -> tuple[Any, ...]:
    """The arguments of a layer's operation without its bias, in another graph."""
    args = fx.map_arg(node.args, known.__getitem__)
    return (*args[:2], None, *args[3:]) if len(args) > 2 else args


def _along(graph: fx.Graph, value: fx.Node, node: fx.Node, axis: int) -> fx.Node:
    """One value a unit (units,), so that it stands along the units of a node's value."""
    if axis != 1 or len(node.meta["shape"]) <= 2:
        return value
    return graph.call_function(aten.reshape.default, (value, (-1, *[1] * (len(node.meta["shape"]) - 2))))
