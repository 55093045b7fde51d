"""What is known of single ATen operations: which act on each unit alone, and how."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten
RISING = {
    aten.relu.default, aten.relu6.default, aten.hardtanh.default, aten.sigmoid.default, aten.hardsigmoid.default,
    aten.tanh.default, aten.softplus.default, aten.elu.default, aten.selu.default, aten.celu.default,
    aten.leaky_relu.default, aten.clamp_min.default,
}  # fmt: skip
"""Never fall (with their usual parameters), so that max-pooling may go before them."""
POINTWISE = RISING | {
    aten.gelu.default, aten.silu.default, aten.hardswish.default, aten.mish.default, aten.clamp.default,
    aten.abs.default, aten.exp.default, aten.square.default, aten.neg.default,
}  # fmt: skip
SLOPED = {aten.leaky_relu.default, aten.elu.default, aten.celu.default, aten.selu.default}
NORMS = {aten._native_batch_norm_legit_no_training.default, aten.batch_norm.default}
SAME = {aten.clone.default, aten.alias.default, aten.detach.default, aten.contiguous.default, operator.getitem}
LAYOUT = {aten.reshape.default, aten.flatten.using_ints, aten.squeeze.dims, aten.squeeze.dim}


@dataclass(frozen=True)
class Call:
    """An operation with all its arguments but the first."""

    name: str
    args: tuple
    kwargs: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, node: fx.Node) -> "Call":
        """What a node does to its first argument."""
        return cls(str(node.target), tuple(node.args[1:]), tuple(node.kwargs.items()))

    @property
    def target(self) -> Callable[..., Tensor]:
        """The operation."""
        namespace, operation, overload = self.name.split(".")
        return getattr(getattr(getattr(torch.ops, namespace), operation), overload)

    def __call__(self, value: Tensor) -> Tensor:
        """Applies it."""
        return self.target(value, *self.args, **dict(self.kwargs))
