"""A finished benchmark of drawn faces, for studies/causal.py: what it recorded, and where the study is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emobench.concepts.annotations import load_annotations
from emobench.concepts.embeddings import load_concept_scores
from emobench.errors import UserError
from emobench.faces.imageset import ImageSet, load_imageset
from emobench.files import replacing, write_csv
from emobench.layout import Layout
from emobench.networks.activations import load_activations
from emobench.networks.network import Network
from emobench.networks.sources import load_network, untrained
from emobench.params import Params, load_params
from emobench.reporting.figures.style import Picture
from emobench.vocabulary.card import load_vocabulary

FOLDERS = {"trained": "activations", "untrained": "activations_untrained"}
UNITS = {"trained": "units", "untrained": "units_untrained"}
CONCEPT_SET = "expressions"
"""The only set whose concepts the renderer draws one by one."""


@dataclass(frozen=True)
class Bench:
    """A finished benchmark of drawn faces."""

    params: Params
    layout: Layout

    @cached_property
    def imageset(self) -> ImageSet:
        """Its faces."""
        return load_imageset(self.layout.data)

    @cached_property
    def networks(self) -> dict[str, Network]:
        """The trained one and its twin with random weights, the same as the stage record had."""
        trained = load_network(self.layout.models / "network")
        return {"trained": trained, "untrained": untrained(trained.card, seed=self.params.seed + 1)}

    @property
    def layers(self) -> list[str]:
        """Those recorded, in forward order."""
        return [layer.name for layer in self.networks["trained"].card.chosen]

    @property
    def reports(self) -> Path:
        """Where the study is kept."""
        return self.layout.reports.parent / "causal" / self.layout.name

    def activations(self, network: str, layer: str, rows: np.ndarray) -> torch.Tensor:
        """Recorded activations (rows, units)."""
        folder = self.layout.artifacts / FOLDERS[network]
        return load_activations(folder, layer, self.imageset.digest(), rows)

    def described(self, network: str) -> dict[str, pd.DataFrame]:
        """Layer -> its units in order with description and similarity."""
        table = pd.read_parquet(self.layout.artifacts / f"{UNITS[network]}.parquet")
        asked = (table["concept_set"] == CONCEPT_SET) & (table["similarity_fn"] == self.params.edit.similarity_fn)
        rows = table.loc[asked, ["layer", "unit", "description", "similarity"]].sort_values("unit")
        return {str(layer): group.reset_index(drop=True) for layer, group in rows.groupby("layer")}

    def descriptions(self, network: str, concepts: tuple[str, ...]) -> Mapping[str, torch.Tensor]:
        """Layer -> place of each unit's description among the concepts (units,)."""
        return {
            layer: torch.tensor([concepts.index(name) for name in table["description"]])
            for layer, table in self.described(network).items()
        }

    def scores(self, rows: np.ndarray) -> tuple[tuple[str, ...], torch.Tensor]:
        """The concepts, and how well the CLIP says that each fits each image (rows, concepts)."""
        vocabulary = load_vocabulary(self.layout.data)
        _, every = load_concept_scores(self.layout.artifacts, self.imageset.digest(), vocabulary)
        found = next(scores for scores in every if scores.name == CONCEPT_SET)
        return tuple(found.concepts), found.scores[torch.from_numpy(rows)]

    def truth(self, rows: np.ndarray, concepts: tuple[str, ...]) -> torch.Tensor:
        """What was drawn on each image (rows, concepts), from 0 to 1."""
        table = load_annotations(self.layout.data, self.imageset)
        return torch.from_numpy(table.iloc[rows][list(concepts)].to_numpy(np.float32, copy=True))

    def write(self, name: str, table: pd.DataFrame, picture: Picture | None = None) -> None:
        """Writes a table, and its figure where there is one."""
        write_csv(self.reports / f"{name}.csv", table)
        if picture is not None:
            with replacing(self.reports / f"{name}.svg") as temporary:
                temporary.write_text(picture.svg)


def bench() -> Bench:
    """The benchmark in params.yaml.

    Raises:
        UserError: its faces aren't drawn.
    """
    params = load_params()
    if params.data.source != "synthetic":
        raise UserError(
            f"{params.name} has images of {params.data.source}; expected drawn faces, data.source synthetic"
        )
    return Bench(params, Layout(params.name))
