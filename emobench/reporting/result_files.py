"""The result files of a benchmark, read when they are asked for.

Tables are as written by the stages. Whatever file is missing or can't be read is a UserError that names the stage.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emobench.errors import UserError
from emobench.faces.card import DatasetCard, read_card
from emobench.faces.imageset import ImageSet, load_imageset
from emobench.layout import Layout
from emobench.networks.card import NetworkCard
from emobench.params import Params
from emobench.vocabulary.card import Vocabulary, load_vocabulary


class ResultFiles:
    """The files of one benchmark, each read when it is first asked for."""

    def __init__(self, params: Params, layout: Layout) -> None:
        self.params, self.layout = params, layout

    @cached_property
    def imageset(self) -> ImageSet:
        """Pixels and index."""
        return load_imageset(self.layout.data)

    @cached_property
    def card(self) -> DatasetCard:
        """What the data are: classes, sizes, source."""
        return read_card(self.layout.data)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The concept sets, and which classes each concept speaks for."""
        return load_vocabulary(self.layout.data)

    @cached_property
    def network(self) -> NetworkCard:
        """What the network is: its architecture, its input, its layers."""
        return NetworkCard.read(self.layout.models / "network")

    @cached_property
    def annotations(self) -> pd.DataFrame:
        """Score of each concept (column) on each image (row), NaN where not measured."""
        return _table(self.layout.data / "annotations.parquet", "annotate")

    @cached_property
    def units(self) -> pd.DataFrame:
        """A row a unit, concept set and similarity function."""
        return _table(self.layout.artifacts / "units.parquet", "dissect")

    @cached_property
    def layers(self) -> pd.DataFrame:
        """Table 1, a row a layer, concept set and similarity function, in forward order."""
        return _in_forward_order(
            _table(self.layout.artifacts / "layers.parquet", "dissect"), [layer.name for layer in self.network.chosen]
        )

    @cached_property
    def evidence(self) -> pd.DataFrame:
        """Held-out scores of the descriptions and their controls: a row a network, layer, set, function and score."""
        return _table(self.layout.artifacts / "evidence.parquet", "dissect")

    @cached_property
    def nulls(self) -> pd.DataFrame:
        """What random units score and are called: a row a network, layer, concept set and function."""
        return _table(self.layout.artifacts / "nulls.parquet", "dissect")

    @cached_property
    def _configs(self) -> pd.DataFrame:
        return _table(self.layout.artifacts / "configs.parquet", "edit")

    @cached_property
    def effects(self) -> pd.DataFrame:
        """What happens when a unit is scaled by 0: a row a unit of some layers."""
        return _table(self.layout.artifacts / "unit_effects.parquet", "edit")

    @cached_property
    def profiles(self) -> dict[str, np.ndarray]:
        """Each unit's similarity to all concepts and its activation by class (see emobench.dissection.evidence)."""
        with np.load(_existing(self.layout.artifacts / "profiles.npz", "dissect"), allow_pickle=False) as file:
            return dict(file)

    @cached_property
    def search(self) -> pd.DataFrame:
        """What the search for scales tried: a row a set of layers, kind, penalty and exponent; 0 is the baseline."""
        return _table(self.layout.artifacts / "search.parquet", "edit")

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """A row a configuration that was tested against the baseline."""
        return _table(self.layout.artifacts / "verdicts.parquet", "compare")

    @cached_property
    def predictions(self) -> np.ndarray:
        """Predicted classes uint8 (configurations, images); rows ``config_ids``, columns ``image_rows``."""
        return np.load(_existing(self.layout.artifacts / "predictions.npy", "edit"), mmap_mode="r", allow_pickle=False)

    @cached_property
    def _prediction_ids(self) -> dict[str, Any]:
        return _json(self.layout.artifacts / "prediction_ids.json", "edit")

    @cached_property
    def clip_model(self) -> dict[str, Any]:
        """What the CLIP is and whether it saw labels or annotations."""
        return _json(self.layout.models / "clip" / "clip.json", "clip")

    def metrics(self, name: str) -> dict[str, Any]:
        """A metrics file of the reports folder: audit, network, clip, dissect, held_out or compare."""
        stage = {"audit": "prepare", "held_out": "dissect"}.get(name, name)
        return _json(self.layout.reports / f"{name}.json", stage)

    def precision(self, name: str) -> str:
        """In which precision the network or the clip was trained; results of earlier versions don't tell."""
        return self.metrics(name).get("precision", "unknown")

    @cached_property
    def concept_classes(self) -> pd.DataFrame:
        """A row a concept: its cosine with each class's name, the nearest class, and those that the map gives it."""
        path = _existing(self.layout.reports / "concept_classes.csv", "embed")
        # Concepts may be called "None" or "NA", and no class at all is empty text: only numbers can be missing.
        numbers = {name: [""] for name in ("agrees", *(f"cosine_{label}" for label in self.card.classes))}
        return _table(path, "embed", keep_default_na=False, na_values=numbers)

    def plot(self, name: str) -> pd.DataFrame:
        """A table of the reports folder: history or clip_concepts."""
        return _table(self.layout.reports / f"{name}.csv", "network" if name == "history" else "clip")


def _existing(path: Path, stage: str) -> Path:
    """The path, if there is a file.

    Raises:
        UserError: there is none.
    """
    if not path.is_file():
        raise UserError(f"no {path}; run the stage {stage!r} first (dvc repro {stage})")
    return path


def _json(path: Path, stage: str) -> dict[str, Any]:
    """A JSON file.

    Raises:
        UserError: there is none, or it is no JSON.
    """
    try:
        return json.loads(_existing(path, stage).read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{path} is not valid JSON; remove it and run dvc repro {stage}") from None


def _table(path: Path, stage: str, **options: Any) -> pd.DataFrame:
    """A table, csv (``options``: of its reader) or parquet.

    Raises:
        UserError: there is none, or it can't be read.
    """
    _existing(path, stage)
    try:
        return pd.read_csv(path, **options) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} can't be read ({reason}); remove it and run dvc repro {stage}") from None


def _in_forward_order(layers: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Sorts by concept set, similarity function and the network's order of layers."""
    position = layers["layer"].map({name: number for number, name in enumerate(names)})
    keys = ["concept_set", "similarity_fn", "_position"]
    return layers.assign(_position=position).sort_values(keys, ignore_index=True).drop(columns="_position")
