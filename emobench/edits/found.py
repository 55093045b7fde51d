"""What a search found, in one layer or in several together."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from emobench.edits.target import Configuration
from emobench.networks.ranges import Range


@dataclass(frozen=True)
class Found:
    """Scales that a search found, as an edit: layer -> (units,) float32, already raised to the exponent.

    ``ranges``: layer -> where they act; None for all that a layer puts out.
    """

    kind: str
    penalty: float
    exponent: float
    scales: dict[str, Tensor]
    ranges: Mapping[str, Range] | None = None

    @property
    def arm(self) -> str:
        """search_<kind>, and for several layers search_<kind>_joint."""
        return f"search_{self.kind}" + ("_joint" if len(self.scales) > 1 else "")

    @property
    def config_id(self) -> str:
        """A readable name, unique within one benchmark."""
        return f"{'+'.join(self.scales)}-{self.arm}-penalty{self.penalty:g}-f{self.exponent:.2f}"

    def configuration(self) -> Configuration:
        """As a configuration, whose factor is the exponent.

        That of several layers has their scales one after the other: it is measured by emobench.edits.joint alone.
        """
        scale = torch.cat(list(self.scales.values()))
        status = "degenerate" if (scale == scale[0]).all() else "ok"
        criterion = f"{self.kind}:penalty{self.penalty:g}"
        return Configuration(self.config_id, self.arm, scale, status, criterion, factor=self.exponent)
