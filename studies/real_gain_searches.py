"""The searches of studies/real_gain.py: which layers, what shares a scale, and on which part of the outputs it acts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.device import pick_device
from emobench.edits.layer_choice import choose_layer
from emobench.edits.nested import Descent, FoldSearch, Way
from emobench.edits.ranges import Where, range_of, train_values
from emobench.edits.search import groups_of
from emobench.edits.target import unit_table
from emobench.errors import UserError
from emobench.faces.imageset import ImageSet, load_imageset
from emobench.layout import Layout
from emobench.networks.augmented import Augmented
from emobench.networks.network import Network
from emobench.networks.sources import load_network
from emobench.params import Params
from emobench.settings.data import Augment
from emobench.stored_tables import read_table
from emobench.sweeps.scaled import ScaledNetwork

EDITED, ALL = "edited", "all"


class Asked(NamedTuple):
    """A search: in the edited layer or in all, by which kind (see groups_of), where scales act, and on which images."""

    layers: str
    kind: str
    wheres: tuple[Where, ...] = ()
    augmented: bool = False


ABOVE, HIGH, BELOW = Where(0.5, True), Where(0.9, True), Where(0.5, False)
SEARCHES = {
    "edited-free": Asked(EDITED, "free"),
    "edited-descriptions": Asked(EDITED, "descriptions"),
    "edited-interpretable": Asked(EDITED, "interpretable"),
    "edited-free-augment": Asked(EDITED, "free", augmented=True),
    "edited-free-range": Asked(EDITED, "free", (ABOVE, HIGH, BELOW)),
    "edited-descriptions-range": Asked(EDITED, "descriptions", (ABOVE, HIGH, BELOW)),
    "all-descriptions": Asked(ALL, "descriptions_by_layer"),
    "all-interpretable": Asked(ALL, "interpretable_by_layer"),
    "all-descriptions-augment": Asked(ALL, "descriptions_by_layer", augmented=True),
    "all-descriptions-range": Asked(ALL, "descriptions_by_layer", (ABOVE,)),
    "all-free": Asked(ALL, "free"),
}
"""Free scales are fitted with each of edit.search.penalties, tied ones and those of ranges with the lowest: of many
numbers the pull to one decides, of few the images do. In all layers together one threshold has to do."""


@dataclass(frozen=True)
class Bench:
    """A finished benchmark, and which of its val and test images are searched and judged on.

    Args:
        params: the benchmark.
        layout: its files.
        images: at most so many of val and test together, in the share of the splits; 0 for all.
    """

    params: Params
    layout: Layout
    images: int = 0

    @cached_property
    def imageset(self) -> ImageSet:
        """Its images."""
        return load_imageset(self.layout.data)

    @cached_property
    def network(self) -> Network:
        """As it is."""
        return load_network(self.layout.models / "network").to(pick_device(self.params.device))

    @cached_property
    def layer(self) -> str:
        """The edited layer."""
        layers = read_table(self.layout.artifacts / "layers.parquet")
        return choose_layer(self.params.edit, layers, self.network.card)

    @cached_property
    def units(self) -> pd.DataFrame:
        """units.parquet."""
        return read_table(self.layout.artifacts / "units.parquet")

    @cached_property
    def rows(self) -> np.ndarray:
        """Row numbers of the images, ascending."""
        splits = [self.imageset.rows(split) for split in ("val", "test")]
        every = sum(map(len, splits))
        share = min(1.0, self.images / every) if self.images else 1.0
        rng = np.random.default_rng(self.params.seed)
        return np.sort(np.concatenate([rng.permutation(rows)[: round(share * len(rows))] for rows in splits]))

    @cached_property
    def val(self) -> np.ndarray:
        """Which of the images are of val (images,) bool."""
        return (self.imageset.index["split"].to_numpy()[self.rows] == "val").astype(bool)

    @cached_property
    def labels(self) -> Tensor:
        """Of the images (images,) int64."""
        return torch.from_numpy(self.imageset.labels[self.rows])

    @property
    def groups(self) -> np.ndarray:
        """Which images have to stay together (images,): copies, and one subject's."""
        return self.imageset.together()[self.rows]

    @cached_property
    def augment(self) -> Augment | None:
        """How pictures were changed in training: the network's, or else the CLIP's; None if neither was trained."""
        for section, training in ((self.params.network, "train"), (self.params.clip, "training")):
            if section.source == "train":
                return getattr(section, training).augment
        return None

    def layers(self, asked: Asked) -> list[str]:
        """Those that a search scales."""
        return [self.layer] if asked.layers == EDITED else [card.name for card in self.network.card.editable]

    def ways(self, asked: Asked) -> Iterator[Way]:
        """Of a search.

        Raises:
            UserError: augmentation is asked for, and nothing was trained here that says how.
        """
        layers, search = self.layers(asked), self.params.edit.search
        tables = {layer: unit_table(self.params.edit, layer, self.units) for layer in layers}
        groups, augmented = groups_of(asked.kind, tables, self.params.edit.paper.tau), None
        inputs = self.network.given(self.imageset.images, self.rows, self.imageset.digest())
        if asked.augmented:
            if self.augment is None:
                raise UserError("neither network nor CLIP was trained here, so that no augmentation is known")
            augmented = Augmented(self.network, self.imageset.images, self.rows, self.augment)
        values = train_values(self.network, layers, self.imageset, seed=self.params.seed) if asked.wheres else {}
        penalties = search.penalties if asked.kind == "free" and not asked.wheres else [min(search.penalties)]
        for where in asked.wheres or (None,):
            network = ScaledNetwork(
                self.network, layers, inputs, augmented=augmented,
                memory_gib=self.params.edit.memory_gib / max(1, len(asked.wheres)),
                ranges=None if where is None else range_of(layers, values, where),
            )  # fmt: skip
            for penalty in penalties:
                yield Way(" ".join([*([] if where is None else [str(where)]), f"penalty{penalty:g}"]), network, groups,
                          penalty)  # fmt: skip

    def search(self, asked: Asked, descent: Descent) -> FoldSearch:
        """All that a search needs."""
        return FoldSearch(list(self.ways(asked)), self.labels, descent)


def numbers_of(ways: Sequence[Way]) -> int:
    """How many scales are fitted."""
    return 1 + max(int(numbers.max()) for numbers in ways[0].groups.values())
