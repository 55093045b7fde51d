"""Dissecting recorded networks layer by layer; large layers are held one at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.concepts.scores import ConceptScores
from emobench.cores import one_a_core
from emobench.dissection.layer import Dissected, Layer, dissect_layer, held_out_columns, truly_best
from emobench.dissection.scorers import Scorer, make_scorer
from emobench.dissection.stability import stability
from emobench.faces.imageset import ImageSet
from emobench.functional.coherence import coherence
from emobench.functional.columns import standardised
from emobench.functional.faithfulness import agreement, measured_evidence, scored_evidence
from emobench.functional.similarity.scores import top_images
from emobench.networks.activations import load_activations
from emobench.own_code import short_name
from emobench.progress import progress
from emobench.settings.dissect import Dissect
from emobench.settings.network import file_of
from emobench.stored import existing

KEY = ["layer", "concept_set", "similarity_fn"]
SMALL_BYTES = 2**26
"""Of a layer's activations: layers up to this size are dissected side by side, larger ones on all cores, one by one."""


@dataclass(frozen=True)
class Images:
    """What dissection knows of the images: the set, CLIP's embeddings (images, dim), concept scores, annotations."""

    imageset: ImageSet
    embeddings: Tensor
    sets: Sequence[ConceptScores]
    annotations: pd.DataFrame


@dataclass
class Tables:
    """What is found, a list of tables or rows for each file."""

    units: list[pd.DataFrame] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)
    evidence: list[dict[str, Any]] = field(default_factory=list)
    nulls: list[dict[str, Any]] = field(default_factory=list)
    similarity: dict[str, list[Tensor]] = field(default_factory=dict)
    class_means: list[Tensor] = field(default_factory=list)

    def add(self, more: "Tables") -> None:
        """Appends what was found of further layers."""
        for name in ("units", "layers", "evidence", "nulls", "class_means"):
            getattr(self, name).extend(getattr(more, name))
        for concept_set, parts in more.similarity.items():
            self.similarity.setdefault(concept_set, []).extend(parts)


def dissect_networks(
    dissect: Dissect, images: Images, layers: Sequence[str], recordings: Mapping[str, Path], *, profiled: str, seed: int
) -> dict[str, Tables]:
    """Describes every unit of every layer of some networks, by every concept set and score function.

    Args:
        dissect: score functions and their parameters, the probe, tau.
        images: the images and what is known of them.
        layers: which were recorded, in forward order.
        recordings: network -> folder of its activations: ``trained``, ``untrained`` for comparison, and ``noisy`` for
            the stability of the trained one's descriptions; the latter two where they were recorded.
        profiled: the function whose similarities to all concepts are kept.
        seed: of null draws, resamples and rank_reorder's random orders.

    Returns:
        The tables of ``trained`` and ``untrained``.
    """
    work = _Work(dissect, images, recordings, profiled, seed)
    found = {network: Tables() for network in recordings if network != "noisy"}
    both = [(layer, network) for layer in layers for network in found]
    own = any(file_of(name)[1] for name in dissect.similarity_fns)
    with progress(total=len(both), desc="dissect", unit="layer") as bar:

        def dissected(place: tuple[str, str]) -> Tables:
            tables = work.dissect(*place)
            bar.update()
            return tables

        for small, group in groupby(both, lambda place: not own and work.is_small(*place)):
            some = list(group)
            parts = one_a_core(dissected, some, torch.device("cpu")) if small else map(dissected, some)
            for (_, network), tables in zip(some, parts, strict=True):
                found[network].add(tables)
    return found


class _Work:
    """Everything that all layers share: rows, scorers with their nulls, held-out evidence."""

    def __init__(
        self, dissect: Dissect, images: Images, recordings: Mapping[str, Path], profiled: str, seed: int
    ) -> None:
        self.dissect_params, self.recordings, self.profiled, self.seed = dissect, recordings, profiled, seed
        self.classes, self.digest = images.imageset.classes, images.imageset.digest()
        self.probe, self.held = images.imageset.probe_rows(dissect.probe), images.imageset.rows("val")
        self.labels = torch.from_numpy(images.imageset.labels)
        self.embeddings = images.embeddings[self.probe]
        self.sets = [concepts.on(self.probe) for concepts in images.sets]
        self.evidence = {concepts.name: self._evidence(concepts, images.annotations) for concepts in images.sets}
        self.scorers: dict[str, dict[str, Scorer]] = {
            concepts.name: {
                short_name(name): make_scorer(name, dissect, concepts.scores, seed) for name in dissect.similarity_fns
            }
            for concepts in self.sets
        }
        needed = (scorer.top_k for scorers in self.scorers.values() for scorer in scorers.values())
        self.top_k = max(dissect.top_images, *needed)

    def _evidence(self, concepts: ConceptScores, annotations: pd.DataFrame) -> dict[str, Any]:
        """What descriptions by this set are held against on the held-out images."""
        measured = measured_concepts(concepts.concepts, annotations, self.labels.numpy(), self.classes)[self.held]
        return {
            "clip": scored_evidence(concepts.scores[self.held], self.dissect_params.present_share),
            "measured": measured_evidence(torch.from_numpy(measured)),
        }

    def is_small(self, name: str, network: str) -> bool:
        """Whether a layer's activations are so few that several layers can be held at once."""
        return existing(self.recordings[network] / f"{name}.npy", "record").stat().st_size <= SMALL_BYTES

    def dissect(self, name: str, network: str) -> Tables:
        """What is found of one layer."""
        tables = Tables()
        activations = load_activations(self.recordings[network], name, self.digest, self.probe)
        held = load_activations(self.recordings[network], name, self.digest, self.held)
        layer = Layer(
            activations, self.labels[self.probe], top_images(activations, self.top_k), self.dissect_params.top_images
        )
        shared = {key: value.tolist() for key, value in coherence(self.embeddings, layer.top[: self._seen]).items()}
        shared["top_images"] = self.probe[layer.top[: layer.shown].T.numpy()].tolist()
        found: dict[tuple[str, str], Dissected] = {}
        for concepts in self.sets:
            sources = self.evidence[concepts.name].items()
            agreements = {source: agreement(held, seen, self.dissect_params.active_share) for source, seen in sources}
            for function, scorer in self.scorers[concepts.name].items():
                key = {"layer": name, "concept_set": concepts.name, "similarity_fn": function}
                dissected = dissect_layer(
                    layer, concepts, scorer, tau=self.dissect_params.tau, fdr=self.dissect_params.fdr
                )
                found[concepts.name, function] = dissected
                columns, rows = held_out_columns(agreements, dissected.best)
                truth = truly_best(agreements["measured"]["pearson"], dissected.best)
                tables.evidence += [key | row for row in rows]
                tables.nulls.append(key | {"concepts": list(concepts.concepts)} | dissected.null)
                truths = {f"truth_{column}": value for column, value in truth.items()}
                tables.layers.append(key | dissected.row | _means(shared, rows) | truths)
                units = {"unit": range(len(dissected.best)), **dissected.units, **columns, **shared}
                tables.units.append(pd.DataFrame(units).assign(**key))
        self._profile(found, held, tables)
        if network == "trained":
            self._add_stability(name, layer, found, tables)
        return tables

    @property
    def _seen(self) -> int:
        """How many top images the units' coherence is measured on."""
        return min(self.dissect_params.coherence_images, self.top_k)

    def _profile(self, found: Mapping[tuple[str, str], Dissected], held: Tensor, tables: Tables) -> None:
        for (concept_set, function), dissected in found.items():
            if function == self.profiled:
                tables.similarity.setdefault(concept_set, []).append(dissected.similarity)
        labels = self.labels[self.held]
        standard = standardised(held)
        means = [standard[labels == index].mean(dim=0) for index in range(len(self.classes))]
        tables.class_means.append(torch.stack(means, dim=1))

    def _add_stability(
        self, name: str, layer: Layer, found: Mapping[tuple[str, str], Dissected], tables: Tables
    ) -> None:
        noisy = self.recordings.get("noisy")
        disturbed = None if noisy is None else load_activations(noisy, name, self.digest, self.probe)
        kept = stability(
            layer.activations, disturbed, {concepts.name: concepts.scores for concepts in self.sets}, self.scorers,
            {key: dissected.best for key, dissected in found.items()},
            top_k=self.top_k, resamples=self.dissect_params.resamples, seed=self.seed,
        )  # fmt: skip
        last = len(found)
        for table, row in zip(tables.units[-last:], tables.layers[-last:], strict=True):
            for column, values in kept[row["concept_set"], row["similarity_fn"]].items():
                table[column] = values.tolist()
                row[column] = values.nanmean().item()


def measured_concepts(
    concepts: Sequence[str], annotations: pd.DataFrame, labels: np.ndarray, classes: Sequence[str]
) -> np.ndarray:
    """What is known of each concept on each image: a class is the label, any other its annotation.

    Returns:
        (images, concepts) float32 in [0, 1]; NaN where nothing was measured.
    """
    nothing = np.full(len(labels), np.nan)
    columns = [
        labels == classes.index(concept) if concept in classes else annotations.get(concept, nothing)
        for concept in concepts
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _means(shared: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """A layer's means of what doesn't depend on the description, and the held-out AUPRC with its controls."""
    columns = {name: np.array(shared[name]) for name in ("clarity", "polysemanticity", "redundancy")}
    # A layer's only unit is redundant to none: there is nothing to average.
    result = {name: np.nan if np.isnan(column).all() else float(np.nanmean(column)) for name, column in columns.items()}
    for row in rows:
        if row["metric"] == "auprc":
            names = ("described", "random", "constant", "best")
            result |= {f"{row['source']}_auprc_{name}": row[name] for name in names}
    return result


def side_by_side(layers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The trained network's layer table, with the untrained one's columns beside it where there is one."""
    if "untrained" not in layers:
        return layers["trained"]
    control = layers["untrained"].drop(columns="num_units").set_index(KEY).add_prefix("untrained_")
    return layers["trained"].join(control, on=KEY)
