"""A network as a graph of functional ATen operations, for any number of images, by torch.export.

Hooks and fx miss layers that live inside functions (torchvision's ViT); the exported graph has every operation. Nothing
in it works in place, so values that were computed before an edit survive it.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.export import Dim

from emobench.errors import UserError
from emobench.networks.program import Program

aten = torch.ops.aten
VIEWS = (aten.view.default, aten._unsafe_view.default)
LONGEST_REASON = 200
WORST_DIFFERENCE = 1e-3
"""Relative, between the graph's and the network's own answers: more than any other order of sums makes."""

_captured: WeakKeyDictionary[nn.Module, tuple[tuple, Program | str]] = WeakKeyDictionary()


class ExportError(Exception):
    """A network has no graph; the message is the reason in one line."""


def capture(model: nn.Module, example: Tensor) -> Program:
    """The network's graph; the last one of each network is kept.

    Args:
        model: in evaluation mode.
        example: what the network takes, two images or more; only its shape, type and device matter.

    Raises:
        ExportError: torch.export can't read the network, or reads it wrongly.
        ValueError: the model is in training mode.
    """
    if model.training:
        raise ValueError("the model is in training mode: dropout and BatchNorm would change with every run")
    tensors = chain(model.parameters(), model.buffers())
    key = (tuple(example.shape[1:]), example.dtype, example.device, *(value.data_ptr() for value in tensors))
    if (found := _captured.get(model)) is None or found[0] != key:
        try:
            found = key, _checked(model, _at_least_two(example))
        except ExportError as error:
            found = key, str(error)
        _captured[model] = found
    if isinstance(found[1], str):
        raise ExportError(found[1])
    return found[1]


def answer(model: nn.Module, inputs: Tensor) -> Tensor:
    """The network's logits, (images, classes).

    Raises:
        UserError: it puts out something else.
    """
    output = model(inputs)
    if not isinstance(output, Tensor):
        keys = list(output) if isinstance(output, dict) else range(len(output)) if isinstance(output, tuple) else []
        what = f"{type(output).__name__} with {', '.join(map(str, keys))}" if keys else type(output).__name__
        raise UserError(f"the network puts out a {what}, expected logits (images, classes); name one as network.output")
    if output.ndim != 2 or len(output) != len(inputs):
        raise UserError(
            f"the network puts out {tuple(output.shape)} for {len(inputs)} images; expected logits (images, classes)"
        )
    return output


@torch.no_grad()
def answers_alike(model: nn.Module, inputs: Tensor) -> bool:
    """Whether two passes over the same images give the same logits. torch's random state is left as it was."""
    with torch.random.fork_rng(devices=[inputs.device] if inputs.device.type == "cuda" else []):
        first, second = answer(model, inputs), answer(model, inputs)
    # NaN is for the evaluator to tell: it knows the layer.
    first, second = first.nan_to_num(0.0), second.nan_to_num(0.0)
    return torch.allclose(first, second, rtol=1e-5, atol=1e-6 * float(first.abs().max()))


def _at_least_two(example: Tensor) -> Tensor:
    """One image alone would be taken for a constant."""
    return example[:2] if len(example) > 1 else example.repeat(2, *[1] * (example.ndim - 1))


@torch.no_grad()
def _checked(model: nn.Module, example: Tensor) -> Program:
    program = _exported(model, example)
    expected, came = answer(model, example), program(example)
    if not isinstance(came, Tensor) or came.shape != expected.shape:
        raise ExportError("its graph puts out another form than the network")
    difference = float((came - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    # NaN in both is for the evaluator to tell: it knows the layer.
    if difference > WORST_DIFFERENCE:
        raise ExportError(f"its graph answers otherwise than the network (by {difference:.1g})")
    return program


def _exported(model: nn.Module, example: Tensor) -> Program:
    try:
        with _quiet(), torch.no_grad():
            exported = torch.export.export(model, (example,), dynamic_shapes=({0: Dim.DYNAMIC},), strict=False)
            module = exported.run_decompositions({}).module(check_guards=False)
    # Whatever a network does, or torch's reading of it: none of it is a mistake of emobench's.
    except Exception as error:
        raise ExportError(_reason(error)) from None
    nodes = list(module.graph.nodes)
    for node in nodes:
        if node.target in VIEWS:
            # A view would refuse channels-last values.
            node.target = aten.reshape.default
        if node.target is aten.reshape.default:
            _without_the_number_of_images(node)
        value = node.meta.get("val")
        node.meta = {"shape": None, "sizes": None}
        if isinstance(value, Tensor):
            node.meta = {
                "shape": tuple(size if isinstance(size, int) else str(size.node.expr) for size in value.shape),
                "sizes": tuple(size if isinstance(size, int) else size.node.hint for size in value.shape),
            }
    names = {node.target for node in nodes if node.op == "get_attr"}
    graph = _plain(module.graph)
    images = next(node for node in graph.nodes if node.op == "placeholder").meta["shape"][0]
    return Program(graph, {name: _attribute(module, name) for name in names}, images)


def _without_the_number_of_images(node: fx.Node) -> None:
    """A reshape to one size that hangs on the images and others that don't says it as -1, and needs no other node."""
    source, sizes = node.args
    if sum(isinstance(size, fx.Node) for size in sizes) == 1 and -1 not in sizes:
        node.args = (source, [-1 if isinstance(size, fx.Node) else size for size in sizes])


def _plain(graph: fx.Graph) -> fx.Graph:
    """Without what nobody uses (assertions among it), and with the one tensor as output."""
    plain = fx.Graph()
    known: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node.op == "output":
            outputs = node.args[0]
            plain.output(known[outputs if isinstance(outputs, fx.Node) else outputs[0]])
        elif node.op in ("placeholder", "get_attr") or (node.op == "call_function" and node.users):
            known[node] = plain.node_copy(node, known.__getitem__)
        elif node.users:
            raise ExportError(f"its graph has a part that is no operation ({node.target})")
    plain.eliminate_dead_code()
    return plain


def _attribute(module: nn.Module, name: str) -> Any:
    owner, _, leaf = name.rpartition(".")
    value = getattr(module.get_submodule(owner), leaf)
    if not isinstance(value, Tensor):
        raise ExportError(f"its graph needs {name}, which is no tensor")
    return value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A failed export prints the whole graph, and warns of what does no harm."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _reason(error: Exception) -> str:
    """The first line that says something, without torch's advice."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    short = line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 4]} ..."
    return f"{type(error).__name__}: {short}"
