"""From a value to the logits by affine operations alone (a convolution and the mean over space, say): one matrix.

Between such a value and the logits each number of a unit counts for each class by a fixed weight, whatever the edit.
"""

import operator
import sys

import torch
from torch import Tensor, fx

from emobench.networks.operations import LAYOUT, NORMS, SAME
from emobench.networks.program import Program

aten = torch.ops.aten
WEIGHTED = {aten.linear.default, aten.conv1d.default, aten.conv2d.default, aten.conv3d.default, aten.conv2d.padding}
POOLS = {aten.mean.dim, aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default}


def affine_to_logits(node: fx.Node) -> fx.Node | None:
    """The node of the logits, if all operations between are affine in this one and one of them has weights."""
    weighted, images = False, node.meta["shape"] and node.meta["shape"][0]
    while True:
        if (other := reordered(node)) is not None:
            node, _ = other
        if len(node.users) != 1:
            return None
        (user,) = node.users
        if user.op == "output":
            shape = node.meta["shape"]
            return node if weighted and shape and len(shape) == 2 and shape[0] == images else None
        if user.op != "call_function" or not _is_affine(user, node, images):
            return None
        weighted |= user.target in WEIGHTED
        node = user


def reordered(node: fx.Node) -> tuple[fx.Node, list[int]] | None:
    """The node that has the columns of (images, columns) in another order, and that order; None if there is none.

    So a network's answers come into the order of the data set's classes (see emobench.networks.around.Ordered).
    """
    columns, stacks = {}, set()
    for user in node.users:
        column = next(iter(user.users), None) if _is_whole(user) and len(user.users) == 1 else user
        if column is None or column.target is not aten.select.int or column.args[1] != 1 or len(column.users) != 1:
            return None
        columns[column] = column.args[2]
        stacks |= set(column.users)
    stack = stacks.pop() if len(stacks) == 1 else None
    if stack is None or stack.target is not aten.stack.default or list(stack.args[1:]) != [1]:
        return None
    return stack, [columns[column] for column in stack.args[0]]


def _is_whole(node: fx.Node) -> bool:
    """Whether it is ``value[:]``."""
    return node.target is aten.slice.Tensor and tuple(node.args[1:]) == (0, 0, sys.maxsize)


def affine_matrix(program: Program, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """What each number counts for in each class.

    Args:
        program: from the value to the logits, which must be affine.
        shape: of one image's value, (1, ...).

    Returns:
        (classes, ...) in the form of the value, and what the logits are where all of it is 0, (classes,); computed in
        float64, so that a weight that goes through one product comes out as it is.
    """
    exact = Program(program.graph, {name: value.double() for name, value in program.tensors.items()}, program.images)
    with torch.enable_grad():
        zero = torch.zeros(1, *shape[1:], dtype=torch.float64, device=program.device)
        classes = exact(zero).shape[1]
        zeros = zero.repeat(classes, *[1] * (zero.ndim - 1)).requires_grad_()
        logits = exact(zeros)
        (weights,) = torch.autograd.grad(logits, zeros, torch.eye(classes, dtype=zero.dtype, device=zero.device))
    return weights.float(), logits[0].detach().float()


def _is_affine(user: fx.Node, source: fx.Node, images: object) -> bool:
    """Whether an operation is affine in its first argument, image by image, and takes nothing else but constants."""
    others = [node for node in user.all_input_nodes if node is not source]
    if not user.args or user.args[0] is not source or any(node.op != "get_attr" for node in others):
        return False
    if user.target in NORMS:
        training = user.target is aten.batch_norm.default and user.args[5]
        return not training and user.args[3] is not None
    if user.target is operator.getitem:
        return user.args[1] == 0
    shape = user.meta["shape"]
    known = user.target in WEIGHTED | POOLS | LAYOUT | SAME
    return known and bool(shape) and shape[0] == images
