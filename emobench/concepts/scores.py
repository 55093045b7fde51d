"""How well each concept of a set fits each image, by the cosine of embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from emobench.functional.interpretability import class_membership


@dataclass(frozen=True)
class ConceptScores:
    """One concept set: its concepts' names, scores (images, concepts) and classes bool (concepts, classes)."""

    name: str
    concepts: Sequence[str]
    scores: Tensor
    membership: Tensor

    def on(self, rows: Any) -> "ConceptScores":
        """The same on some of the images."""
        return ConceptScores(self.name, self.concepts, self.scores[rows], self.membership)


def concept_scores(
    name: str, image_embeddings: Tensor, concept_embeddings: Tensor, concepts: Sequence[str],
    classes: Mapping[str, Sequence[str]], class_names: Sequence[str],
) -> ConceptScores:  # fmt: skip
    """Cosines of unit-length image (images, dim) and concept (concepts, dim) embeddings, with the concepts' classes."""
    membership = class_membership(concepts, classes, class_names)
    return ConceptScores(name, list(concepts), image_embeddings @ concept_embeddings.T, membership)
