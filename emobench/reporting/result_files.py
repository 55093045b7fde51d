"""The result files of a benchmark, read when they are asked for.

Tables are as written by the stages. Whatever file is missing or can't be read is a UserError that names the stage.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from emobench.concepts.annotations import load_annotations
from emobench.edits.results_on_disk import PredictionIds, read_configs, read_ids, read_predictions
from emobench.faces.card import DatasetCard, read_card
from emobench.faces.imageset import ImageSet, load_imageset
from emobench.layout import Layout
from emobench.networks.card import NetworkCard
from emobench.params import Params
from emobench.quantities import WrongError
from emobench.reporting.metric_forms import FORMS, ClipFacts, check_metrics
from emobench.stored import read_arrays, read_json, reading, unusable
from emobench.stored_tables import TABLES, check_table, csv_frame, read_table
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
        return load_annotations(self.layout.data, self.imageset)

    @cached_property
    def units(self) -> pd.DataFrame:
        """A row a unit, concept set and similarity function."""
        return self._dissected("units")

    @cached_property
    def layers(self) -> pd.DataFrame:
        """Table 1, a row a layer, concept set and similarity function, in forward order."""
        return _in_forward_order(self._dissected("layers"), [layer.name for layer in self.network.chosen])

    @cached_property
    def evidence(self) -> pd.DataFrame:
        """Held-out scores of the descriptions and their controls: a row a network, layer, set, function and score."""
        return self._dissected("evidence")

    @cached_property
    def nulls(self) -> pd.DataFrame:
        """What random units score and are called: a row a network, layer, concept set and function."""
        return self._dissected("nulls")

    @cached_property
    def _configs(self) -> pd.DataFrame:
        return read_configs(self.layout.artifacts, self.imageset, self._prediction_ids, self.predictions)

    @cached_property
    def effects(self) -> pd.DataFrame:
        """What happens when a unit is scaled by 0: a row a unit of some layers."""
        return self._dissected("unit_effects")

    @cached_property
    def profiles(self) -> dict[str, np.ndarray]:
        """Each unit's similarity to all concepts and its activation by class (see emobench.dissection.evidence)."""
        return read_arrays(self.layout.artifacts / "profiles.npz", "dissect", ("class_activation",))

    @cached_property
    def search(self) -> pd.DataFrame:
        """What the search for scales tried: a row a set of layers, kind, penalty and exponent; 0 is the baseline."""
        return self._dissected("search")

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """A row a configuration that was tested against the baseline."""
        path = self.layout.artifacts / "verdicts.parquet"
        table = read_table(path, made_from={"images": self.imageset.digest()})
        if table.empty and self.params.edit.asked:
            raise unusable(path, "it has no rows", "compare")
        return table

    @cached_property
    def predictions(self) -> np.ndarray:
        """Predicted classes uint8 (configurations, images); rows ``config_ids``, columns ``image_rows``."""
        return read_predictions(self.layout.artifacts, self._prediction_ids)

    @cached_property
    def _prediction_ids(self) -> PredictionIds:
        return read_ids(self.layout.artifacts, self.imageset)

    def _dissected(self, name: str) -> pd.DataFrame:
        """A table that was made from these images and this network."""
        made = {"images": self.card.digest, "network": self.network.weights}
        return read_table(self.layout.artifacts / f"{name}.parquet", made_from=made)

    @cached_property
    def clip_model(self) -> dict[str, Any]:
        """What the CLIP is and whether it saw labels or annotations."""
        path = self.layout.models / "clip" / "clip.json"
        read_json(path, "clip", ClipFacts)
        return read_json(path, "clip")

    def metrics(self, name: str) -> dict[str, Any]:
        """A metrics file of the reports folder: audit, network, clip, dissect, held_out or compare."""
        stage = {"audit": "prepare", "held_out": "dissect"}.get(name, name)
        path = self.layout.reports / f"{name}.json"
        read_json(path, stage, FORMS.get(name, dict))
        values = read_json(path, stage)
        with reading(path, stage):
            if not values:
                raise WrongError("it says nothing")
            check_metrics(values)
        return values

    def precision(self, name: str) -> str:
        """In which precision the network or the clip was trained; results of earlier versions don't tell."""
        return self.metrics(name).get("precision", "unknown")

    @cached_property
    def concept_classes(self) -> pd.DataFrame:
        """A row a concept: its cosine with each class's name, the nearest class, and those that the map gives it."""
        path = self.layout.reports / "concept_classes.csv"
        # Concepts may be called "None" or "NA", and no class at all is empty text: only numbers can be missing.
        numbers = {name: [""] for name in ("agrees", *(f"cosine_{label}" for label in self.card.classes))}
        with reading(path, "embed"):
            table = csv_frame(path, keep_default_na=False, na_values=numbers)
            check_table(table, TABLES["concept_classes"])
        return table

    def plot(self, name: str) -> pd.DataFrame:
        """A table of the reports folder: history or clip_concepts."""
        path = self.layout.reports / f"{name}.csv"
        table = read_table(path)
        # A csv doesn't note how long it was: what is known of it elsewhere tells whether it was cut.
        with reading(path, TABLES[name].stage):
            if name == "history" and table.isna().any(axis=None):
                raise WrongError("a cell is empty")
            if name == "clip_concepts" and set(table["concept"]) != set(self.annotations.columns):
                raise WrongError("its concepts are not those of annotations.parquet")
        return table


def _in_forward_order(layers: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Sorts by concept set, similarity function and the network's order of layers."""
    position = layers["layer"].map({name: number for number, name in enumerate(names)})
    keys = ["concept_set", "similarity_fn", "_position"]
    return layers.assign(_position=position).sort_values(keys, ignore_index=True).drop(columns="_position")
