"""One layer's dissection as columns: from activations and concept scores to the rows of the unit and layer tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from emobench.errors import unknown_name
from emobench.functional import interpretability, similarity
from emobench.params import SIMILARITY_FNS, Dissect


@dataclass(frozen=True)
class ConceptScores:
    """One concept set on the probe: its concepts' names, scores (images, concepts), and classes (concepts, classes)."""

    name: str
    concepts: Sequence[str]
    scores: Tensor
    membership: Tensor


def similarity_function(name: str, params: Dissect, seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A score function with the benchmark's parameters filled in: (concept_scores, activations) -> (units, concepts).

    rank_reorder's random orders depend on ``seed`` alone: every layer and concept set starts from the same state.
    """
    if name not in SIMILARITY_FNS:
        raise unknown_name("similarity function", name, SIMILARITY_FNS)
    options: dict[str, Any] = dict(vars(getattr(params, name))) if hasattr(params, name) else {}
    if name == "rank_reorder":
        return lambda scores, activations: similarity.rank_reorder(
            scores, activations, generator=torch.Generator().manual_seed(seed), **options
        )
    return partial(getattr(similarity, name), **options)


def dissect_layer(
    activations: Tensor, labels: Tensor, concepts: ConceptScores, function: Callable[[Tensor, Tensor], Tensor],
    *, top: Tensor, tau: float,
) -> tuple[dict[str, Any], dict[str, float]]:  # fmt: skip
    """Describes every unit of a layer by one concept set and one score function.

    Args:
        activations: (images, units) of the probe.
        labels: (images,) of the probe.
        concepts: the concept set, scored on the same images.
        function: from ``similarity_function``.
        top: (k, units) positions of each unit's most activating probe images.
        tau: similarity above which a unit counts as interpretable.

    Returns:
        The columns of the unit table (each of length units), and the layer's row of Table 1.
    """
    found = interpretability.describe(function(concepts.scores, activations))
    accuracy = interpretability.label_accuracy(top, labels, concepts.membership, found.best)
    chance = interpretability.label_chance(labels, concepts.membership)[found.best]
    dead = (activations == activations[0]).all(dim=0)
    columns = {
        "unit": range(activations.shape[1]),
        "description": [concepts.concepts[index] for index in found.best.tolist()],
        "similarity": found.similarity.tolist(),
        "runner_up": [concepts.concepts[index] for index in found.runner_up.tolist()],
        "margin": found.margin.tolist(),
        "label_accuracy": accuracy.tolist(),
        "chance": chance.tolist(),
        "lift": (accuracy / chance).tolist(),
        "dead": dead.tolist(),
    }
    row = interpretability.layer_summary(found.similarity, accuracy, chance, tau)
    return columns, row | {"dead": int(dead.sum())}


def concept_scores(
    name: str, image_embeddings: Tensor, concept_embeddings: Tensor, concepts: Sequence[str],
    classes: Mapping[str, Sequence[str]], class_names: Sequence[str],
) -> ConceptScores:  # fmt: skip
    """Cosines of unit-length image (images, dim) and concept (concepts, dim) embeddings, with the concepts' classes."""
    membership = interpretability.class_membership(concepts, classes, class_names)
    return ConceptScores(name, list(concepts), image_embeddings @ concept_embeddings.T, membership)
