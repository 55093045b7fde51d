"""Edits beyond a threshold: a unit's output is scaled only above, or only below, a threshold of its own.

No weights do that, so that it is an edit of the network: a layer of it is wrapped. Such a network answers and can be
recorded like any other; it can't be kept as weights, nor sent to other processes.
"""

import copy
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from emobench.errors import UserError, unknown_name
from emobench.functional.edits import ranged
from emobench.networks.network import Network
from emobench.networks.whole import CONVOLUTIONS, UnitModule, unit_modules


class Range(NamedTuple):
    """Where a layer's units are scaled: beyond ``threshold`` (units,), above it or below."""

    threshold: Tensor
    above: bool


class Ranged(nn.Module):
    """A layer whose units are scaled beyond a threshold.

    Args:
        layer: a convolution or a linear layer.
        factor: (units,).
        where: the threshold.
    """

    factor: Tensor
    threshold: Tensor

    def __init__(self, layer: UnitModule, factor: Tensor, where: Range) -> None:
        super().__init__()
        self.layer, self.above = layer, where.above
        shape = (-1, *[1] * (layer.weight.ndim - 2)) if isinstance(layer, CONVOLUTIONS) else (-1,)
        for name, value in (("factor", factor), ("threshold", where.threshold)):
            if value.shape != layer.weight.shape[:1]:
                raise ValueError(f"{name} is {tuple(value.shape)}; expected ({len(layer.weight)},)")
            self.register_buffer(name, value.to(layer.weight).reshape(shape))

    def forward(self, inputs: Tensor) -> Tensor:
        """What the layer puts out, scaled beyond the threshold."""
        return ranged(self.layer(inputs), self.factor, self.threshold, above=self.above)


def with_ranges(network: Network, factors: Mapping[str, Tensor], ranges: Mapping[str, Range]) -> Network:
    """The same network with units scaled beyond their thresholds; the one given stays as it is.

    Args:
        network: whose layers are modules.
        factors: layer -> (units,).
        ranges: layer -> where; the same layers.

    Raises:
        UserError: a layer that is no module of its own.
    """
    model = copy.deepcopy(network.model)
    for name, factor in factors.items():
        modules = unit_modules(model)
        if name not in modules:
            raise unknown_name("layer to wrap", name, modules)
        model.set_submodule(name, Ranged(modules[name], factor, ranges[name]))
    return Network(model.eval(), network.card)


def check_weights_alone(model: nn.Module) -> None:
    """Refuses a network that is more than its weights.

    Raises:
        UserError: a layer of it is scaled beyond a threshold.
    """
    wrapped = [name for name, module in model.named_modules() if isinstance(module, Ranged)]
    if wrapped:
        raise UserError(f"{', '.join(wrapped)}: units scaled beyond a threshold can't be written as weights; "
                        "expected an edit of rows")  # fmt: skip
