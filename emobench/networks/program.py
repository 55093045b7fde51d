"""A graph of operations with the tensors that they use: it runs, and it can be sent to other processes."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx


class Program:
    """Calling it runs the graph. Its tensors share memory with the network's and need no gradient.

    A node's ``meta`` has its ``shape`` (the number of images and what depends on it as text, such as ``s0`` or
    ``64*s0``) and its ``sizes`` for the example that it was captured with, both None for what is no tensor.
    ``images`` is how the number of images is written there.
    """

    def __init__(self, graph: fx.Graph, tensors: Mapping[str, Tensor], images: str) -> None:
        names = dict.fromkeys(node.target for node in graph.nodes if node.op == "get_attr")
        self.graph, self.tensors, self.images = graph, {name: tensors[name].detach() for name in names}, images
        for node in graph.nodes:
            node.meta = {"shape": None, "sizes": None} | node.meta
        graph.lint()
        self._module = fx.GraphModule(self.tensors, graph)

    def __call__(self, *values: Any) -> Any:
        """What the graph puts out."""
        return self._module(*values)

    def __reduce__(self) -> tuple:
        nodes = [
            (node.name, node.op, _portable(node.target), _with_names((node.args, node.kwargs)), node.meta)
            for node in self.graph.nodes
        ]
        # As NumPy arrays: joblib maps those into memory once for all processes.
        arrays = {name: value.cpu().numpy() for name, value in self.tensors.items()}
        return _rebuilt, (nodes, arrays, str(self.device), self.images)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next((value.device for value in self.tensors.values()), torch.device("cpu"))

    def node(self, name: str) -> fx.Node:
        """The node of that name."""
        return next(node for node in self.graph.nodes if node.name == name)


class _Named:
    """Stands for a node, or for an operation of torch, where these can't be pickled."""

    def __init__(self, name: str) -> None:
        self.name = name


def _portable(target: Any) -> Any:
    return _Named(str(target)) if isinstance(target, torch._ops.OpOverload) else target


def _with_names(values: Any) -> Any:
    """Arguments with every node replaced by its name, in plain tuples, lists and dicts."""
    if isinstance(values, fx.Node):
        return _Named(values.name)
    if isinstance(values, dict):
        return {key: _with_names(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_with_names(value) for value in values]
    return values


def _with_nodes(values: Any, nodes: Mapping[str, fx.Node]) -> Any:
    """The inverse of ``_with_names``."""
    if isinstance(values, _Named):
        return nodes[values.name]
    if isinstance(values, dict):
        return {key: _with_nodes(value, nodes) for key, value in values.items()}
    return [_with_nodes(value, nodes) for value in values] if isinstance(values, list) else values


def _rebuilt(described: list[tuple], arrays: dict[str, np.ndarray], device: str, images: str) -> Program:
    """The inverse of ``Program.__reduce__``."""
    graph = fx.Graph()
    nodes: dict[str, fx.Node] = {}
    for name, kind, target, arguments, meta in described:
        if isinstance(target, _Named):
            namespace, operation, overload = target.name.split(".")
            target = getattr(getattr(getattr(torch.ops, namespace), operation), overload)
        args, kwargs = _with_nodes(arguments, nodes)
        nodes[name] = graph.create_node(kind, target, tuple(args), kwargs, name)
        nodes[name].meta = meta
    return Program(graph, {name: torch.tensor(value).to(device) for name, value in arrays.items()}, images)


PRODUCTS = ("conv", "linear", "mm", "matmul", "dot_product")
"""What the names of operations that multiply matrices hold."""


def largest_value(program: Program) -> int:
    """Bytes of the largest value that one image has in a program."""
    found = [node.meta["sizes"] for node in program.graph.nodes if node.op != "get_attr" and node.meta.get("sizes")]
    return max((4 * math.prod(sizes) for sizes in found), default=4) // example_images(program)


def products(program: Program) -> int:
    """About how many multiplications one image takes in a program's convolutions and matrix products; at least 1."""
    total = 0
    for node in program.graph.nodes:
        if node.op == "call_function" and any(name in str(node.target) for name in PRODUCTS) and node.meta.get("sizes"):
            other = node.args[1].meta["sizes"] if len(node.args) > 1 and hasattr(node.args[1], "meta") else None
            row = math.prod(other[1:]) if other and node.args[1].op == "get_attr" else (other or (1, 1))[-2]
            total += math.prod(node.meta["sizes"]) * row
    return max(1, total // example_images(program))


def example_images(program: Program) -> int:
    """How many images the example had that the sizes of a program's values are of."""
    for node in program.graph.nodes:
        shape = node.meta.get("shape")
        if shape and shape[0] == program.images:
            return node.meta["sizes"][0]
    return 1
