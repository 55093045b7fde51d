"""What follows an edited layer as long as every operation acts on each unit alone, brought into one form.

For unit u, with what doesn't depend on the edit computed once (outputs, bases), the form is

    mean_over_positions?( act( scale_u * gain_u * pool(outputs_u) + bases_u + gain_u * shift_u + offset_u ) )

BatchNorm and other constants a unit are gain and offset, residuals are bases, and a max-pool goes in front of what
doesn't fall (with the smallest outputs where the factor is negative). If a linear operation is next that takes each
unit's values, only what changes between two edits has to be computed.
"""

import math
import operator
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx

from emobench.networks.affine import affine_to_logits
from emobench.networks.operations import LAYOUT, NORMS, POINTWISE, RISING, SAME, SLOPED, Call
from emobench.networks.program import Program

aten = torch.ops.aten


@dataclass
class Front:
    """The form of the module's docstring.

    Attributes:
        end: name of the node whose value it is.
        gain: (units,).
        offset: (units,).
        bases: names of the nodes that are added.
        moves: max-pools and permutations of the outputs, functions of a tensor.
        acts: functions of a tensor, the last ones.
        axis: where the units are, after the moves.
        pooled: whether a max-pool is among the moves.
        mean: whether the mean over all positions follows.
        linear: name of the linear operation that takes it next; None if another one does.
        affine: that is the name of the logits, and everything up to them is affine.
        homogeneous: act(s * x) = s * act(x) for s >= 0.
    """

    end: str
    gain: Tensor
    offset: Tensor
    axis: int
    ndim: int
    bases: list[str] = field(default_factory=list)
    moves: list[Call] = field(default_factory=list)
    acts: list[Call] = field(default_factory=list)
    pooled: bool = False
    mean: bool = False
    linear: str | None = None
    affine: bool = False

    @property
    def homogeneous(self) -> bool:
        """Whether the front of outputs and shift times s is s times the front, for s >= 0."""
        relu = all(act.target in (aten.relu.default, aten.leaky_relu.default) for act in self.acts)
        return relu and not self.bases and not self.offset.any()


def front_of(program: Program, start: fx.Node, ones: Tensor, axis: int, depends: set[fx.Node]) -> Front:
    """Follows the graph from a layer's output (``start``) as far as the form goes.

    Args:
        program: the network, or what follows the cut.
        start: the edited output.
        ones: (units,), on the network's device.
        axis: where they are, 1 or -1.
        depends: the nodes that the edit changes.
    """
    ndim = len(start.meta["shape"])
    front = Front(start.name, ones, torch.zeros_like(ones), axis % ndim, ndim)
    node = start
    while (user := _only_user(node)) is not None and _continues(front, program, node, user, depends):
        node = user
        if node.meta["shape"] is not None:
            front.end = node.name
    _into_linear(front, node, len(ones), program.images)
    logits = affine_to_logits(program.node(front.end)) if front.linear is None and front.ndim > 1 else None
    if logits is not None:
        front.mean, front.linear, front.affine = False, logits.name, True
    return front


def _only_user(node: fx.Node) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].op == "call_function" else None


def _continues(front: Front, program: Program, node: fx.Node, user: fx.Node, depends: set[fx.Node]) -> bool:
    """Takes one more operation into the form, if it fits."""
    op = user.target
    if op in NORMS:
        return _norm(front, program, node, user)
    if op is operator.getitem:
        return user.args[1] == 0
    if _is_same(user):
        return True
    if op in POINTWISE and user.args[0] is node:
        front.acts.append(Call.of(user))
        return True
    if op in (aten.permute.default, aten.transpose.int) and front.ndim == len(user.meta["shape"]):
        return _permuted(front, user)
    if op is aten.max_pool2d.default or _is_padding_of_a_pool(user):
        monotone = all(act.target in RISING and not (act.args and act.target in SLOPED) for act in front.acts)
        if front.bases or not monotone or front.axis != 1 or front.ndim != 4:
            return False
        front.moves.append(Call.of(user))
        front.pooled = True
        return True
    if op in (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor) and not front.acts and not user.kwargs:
        return _arithmetic(front, program, node, user, depends)
    return False


def _is_same(user: fx.Node) -> bool:
    return user.target in SAME or (user.target is aten.dropout.default and user.args[2] is False)


def _is_padding_of_a_pool(user: fx.Node) -> bool:
    """Minus infinity around a map (TensorFlow's padding), gone in the max-pool that follows."""
    pool = _only_user(user)
    return (
        user.target is aten.pad.default
        and len(user.args[1]) <= 4
        and tuple(user.args[2:]) == ("constant", -math.inf)
        and not user.kwargs
        and pool is not None
        and pool.target is aten.max_pool2d.default
    )


def _norm(front: Front, program: Program, node: fx.Node, user: fx.Node) -> bool:
    """BatchNorm with its running statistics: a gain and an offset a unit."""
    legit = user.target is aten._native_batch_norm_legit_no_training.default
    if front.axis != 1 or front.acts or front.pooled or user.args[0] is not node or (not legit and user.args[5]):
        return False
    weight, bias, mean, variance = (
        None if value is None else program.tensors.get(value.target) for value in user.args[1:5]
    )
    if mean is None or variance is None or front.bases:
        return False
    gain = (variance + user.args[6 if legit else 7]).rsqrt()
    gain = gain if weight is None else weight * gain
    _affine(front, gain, -gain * mean if bias is None else bias - gain * mean)
    return True


def _affine(front: Front, gain: Tensor | float, offset: Tensor | float) -> None:
    front.gain, front.offset = front.gain * gain, front.offset * gain + offset


def _permuted(front: Front, user: fx.Node) -> bool:
    if front.acts and front.bases:
        return False
    order = list(range(front.ndim))
    if user.target is aten.transpose.int:
        a, b = (axis % front.ndim for axis in user.args[1:3])
        order[a], order[b] = order[b], order[a]
    else:
        order = [axis % front.ndim for axis in user.args[1]]
    if order[0] != 0 or front.bases:
        return False
    front.moves.append(Call("aten.permute.default", (order,), ()))
    front.axis = order.index(front.axis)
    return True


def _arithmetic(front: Front, program: Program, node: fx.Node, user: fx.Node, depends: set[fx.Node]) -> bool:
    """A constant a unit joins gain and offset; what has the outputs' shape and no edit changes is a base."""
    op, (left, right) = user.target, user.args[:2]
    other = right if left is node else left
    if other is node or (op is aten.sub.Tensor and left is not node):
        return False
    sign = -1.0 if op is aten.sub.Tensor else 1.0
    if isinstance(other, int | float) or (isinstance(other, fx.Node) and other.op == "get_attr"):
        constant = other if isinstance(other, int | float) else _by_unit(front, program.tensors[other.target])
        if constant is None or front.pooled or (front.bases and op is aten.mul.Tensor):
            return False
        _affine(front, constant, 0.0) if op is aten.mul.Tensor else _affine(front, 1.0, sign * constant)
        return True
    if op is not aten.add.Tensor or other in depends or other.meta["shape"] != node.meta["shape"]:
        return False
    front.bases.append(other.name)
    return True


def _by_unit(front: Front, constant: Tensor) -> Tensor | None:
    """(units,) of a constant that broadcasts over everything else."""
    shape = (1,) * (front.ndim - constant.ndim) + tuple(constant.shape)
    fits = all(size == 1 or (axis == front.axis and size == len(front.gain)) for axis, size in enumerate(shape))
    return constant.reshape(-1) if fits and constant.dtype == front.gain.dtype else None


def _into_linear(front: Front, node: fx.Node, units: int, images: str) -> None:
    """Looks behind mean and flattening for a linear operation of all values of the units."""
    mean, inner = False, math.prod(node.meta["shape"][front.axis + 1 :]) if _numbers(node, front) else None
    while inner is not None and (user := _only_user(node)) is not None:
        if user.target is aten.linear.default or _is_pointwise_convolution(user):
            weight = user.args[1]
            first, second, *others = node.meta["shape"]
            flat = first == images and second == units * inner and all(size == 1 for size in others)
            if user.args[0] is node and weight.op == "get_attr" and flat:
                front.mean, front.linear = mean, user.name
            return
        if _is_mean(user, front.axis, len(node.meta["shape"])) and not mean:
            mean, inner = True, 1
        elif user.target in LAYOUT and user.meta["shape"] and user.meta["shape"][0] == images:
            if user.meta["shape"][1:2] != (units * inner,) or math.prod(user.meta["shape"][2:]) != 1:
                return
        elif not _is_same(user):
            return
        node = user


def _numbers(node: fx.Node, front: Front) -> bool:
    """Whether all sizes but the images' are numbers, and the units come first of them (or mean will make it so)."""
    shape = node.meta["shape"]
    return shape is not None and all(isinstance(size, int) for size in shape[1:]) and not isinstance(shape[0], int)


def _is_mean(user: fx.Node, axis: int, ndim: int) -> bool:
    """Whether it takes the mean over all axes but images and units."""
    if user.target is aten.adaptive_avg_pool2d.default:
        return axis == 1 and ndim == 4 and list(user.args[1]) == [1, 1]
    if user.target is not aten.mean.dim or user.kwargs:
        return False
    return {dim % ndim for dim in user.args[1]} == set(range(1, ndim)) - {axis}


def _is_pointwise_convolution(user: fx.Node) -> bool:
    """A 1x1 convolution of a single position is a linear layer."""
    if user.target is not aten.conv2d.default or user.args[0].meta["shape"][2:] != (1, 1):
        return False
    kernel = user.args[1].meta["shape"]
    plain = len(user.args) <= 4 or all(not any(padding) for padding in user.args[4:5])
    return kernel[2:] == (1, 1) and plain and (len(user.args) <= 6 or user.args[6] == 1)
