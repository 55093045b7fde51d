"""Thresholds of the operation ``range``: quantiles of what each unit puts out on train images.

``range`` scales a unit's output only above, or only below, its threshold (see emobench.networks.ranges). It is no edit
of weights, so that it isn't among edit.operations, whose quick sweep, controls and exported weights all rest on a scale
and a shift of rows: it is an operation of searches, and of ``emobench.evaluate_range``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from emobench.edits.found import Found
from emobench.edits.target import Configuration
from emobench.faces.imageset import ImageSet
from emobench.networks.network import Network
from emobench.networks.ranges import Range
from emobench.networks.recorder import Recorder

IMAGES = 500
BATCH = 50
VALUES_AN_IMAGE = 64
"""So many places of a convolution's output, drawn at random, stand for an image."""


class Where(NamedTuple):
    """Which share of a unit's values on train lies below its threshold, and on which side of it the unit is scaled."""

    quantile: float
    above: bool

    def __str__(self) -> str:
        return f"{'above' if self.above else 'below'}{self.quantile:g}"


@dataclass(frozen=True)
class RangeEdit(Found):
    """Selected units scaled beyond their thresholds, as an edit that joint edits are measured like; exponent: factor.

    ``where``: of all its layers.
    """

    where: Where = Where(0.5, True)

    @property
    def arm(self) -> str:
        """selected_<side><quantile>."""
        return f"{self.kind}_{self.where}"

    @property
    def config_id(self) -> str:
        """A readable name, unique within one benchmark."""
        return f"{'+'.join(self.scales)}-{self.arm}-f{self.exponent:g}"

    def configuration(self) -> Configuration:
        """As a configuration of the operation ``range``."""
        return replace(super().configuration(), criterion=self.kind, operation="range")


def range_of(layers: Sequence[str], values: dict[str, Tensor], where: Where) -> dict[str, Range]:
    """Layer -> its thresholds and side.

    Args:
        layers: names.
        values: layer -> (values, units), see train_values.
        where: quantile and side.

    Raises:
        ValueError: a quantile that is not between 0 and 1.
    """
    if not 0 < where.quantile < 1:
        raise ValueError(f"quantile is {where.quantile}; expected a number between 0 and 1")
    return {layer: Range(values[layer].quantile(where.quantile, dim=0), where.above) for layer in layers}


def train_values(network: Network, layers: Sequence[str], imageset: ImageSet, *, seed: int) -> dict[str, Tensor]:
    """What the units put out on up to IMAGES kept train images: layer -> (values, units), before BatchNorm and ReLU.

    Args:
        network: as it is.
        layers: names.
        imageset: the images.
        seed: of the places that are taken of a convolution's output.
    """
    rows = imageset.rows("train")
    rows = rows[np.linspace(0, len(rows) - 1, min(IMAGES, len(rows))).astype(int)]
    recorder = Recorder(network, layers, network.inputs(imageset.images[rows[:2]]))
    generator, found = torch.Generator().manual_seed(seed), {layer: list[Tensor]() for layer in layers}
    for first in range(0, len(rows), BATCH):
        some = rows[first : first + BATCH]
        for layer, values in recorder.values(network.inputs(imageset.images[some])).items():
            most = VALUES_AN_IMAGE * len(some)
            if len(values) > most:
                values = values[torch.randperm(len(values), generator=generator)[:most].to(values.device)]
            found[layer].append(values.cpu())
    return {layer: torch.cat(parts) for layer, parts in found.items()}
