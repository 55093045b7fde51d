"""Describing the units of one layer by concepts, as an estimator of scikit-learn's kind."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, TypeAlias

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from emobench.concepts.scores import ConceptScores
from emobench.dissection.layer import Layer, dissect_layer
from emobench.dissection.scorers import make_scorer
from emobench.errors import UserError
from emobench.functional.interpretability import class_membership
from emobench.functional.similarity.scores import top_images
from emobench.library.defaults import demo

Values: TypeAlias = Tensor | np.ndarray | pd.DataFrame


class Dissector(BaseEstimator):
    """Names every unit by the concept that it follows most, and tells what that name is worth.

    Args:
        similarity_fn: soft_wpmi, wpmi, rank_reorder, cos_similarity, cos_similarity_cubed, or FILE.py:FUNCTION.
        tau: similarity above which the paper calls a unit interpretable.
        fdr: false discovery rate at which a unit's similarity counts as more than chance.
        null_draws: of units that know nothing.
        top_images: how many of its most activating pictures a unit's label agreement looks at.
        options: of the score function, where they differ from the demo's: ``{"top_k": 50}``.
        seed: of the draws.

    Attributes:
        units_: a row a unit: description, similarity, runner_up, margin, label_accuracy, chance, lift, null_p, q_value,
            significant, effect, dead.
        similarity_: a row a unit, a column a concept.
        layer_: the layer's row of the paper's Table 1.

    >>> scores = pd.DataFrame(np.random.default_rng(0).random((100, 3)), columns=["smile", "frown", "hat"])
    >>> activations = scores[["hat", "smile"]].to_numpy() ** 2
    >>> found = Dissector("cos_similarity", null_draws=200).fit(activations, scores)
    >>> found.units_["description"].tolist()
    ['hat', 'smile']
    """

    def __init__(
        self, similarity_fn: str = "soft_wpmi", *, tau: float = 0.0, fdr: float = 0.05, null_draws: int = 20000,
        top_images: int = 5, options: Mapping[str, Any] | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.similarity_fn, self.tau, self.fdr, self.null_draws = similarity_fn, tau, fdr, null_draws
        self.top_images, self.options, self.seed = top_images, options, seed

    def fit(
        self, activations: Values, concept_scores: Values, *, concepts: Sequence[str] | None = None,
        labels: np.ndarray | Tensor | None = None, classes: Sequence[str] = (),
        concept_classes: Mapping[str, Sequence[str]] | None = None,
    ) -> Self:  # fmt: skip
        """Describes the units.

        Args:
            activations: (images, units), as :func:`emobench.record` gives them.
            concept_scores: (images, concepts), how well each concept fits each picture: by a CLIP, or as annotated.
            concepts: their names; those of the columns of a pandas table.
            labels: (images,) places in ``classes``; with them label_accuracy, chance and lift are told.
            classes: names of the classes.
            concept_classes: which classes each concept speaks for; without, a concept speaks for the class of its name.

        Raises:
            UserError: shapes or names that don't fit, or values that are not finite.
        """
        if concepts is None:
            concepts = list(map(str, concept_scores.columns)) if isinstance(concept_scores, pd.DataFrame) else None
        values, scores = _tensor("activations", activations), _tensor("concept_scores", concept_scores)
        names = list(concepts) if concepts is not None else [f"concept {place}" for place in range(scores.shape[1])]
        _check(values, scores, names, labels)
        speaks = concept_classes if concept_classes is not None else {name: [name] for name in names}
        known = tuple(classes) or ("none",)
        membership = class_membership(names, speaks, known)
        scorer = make_scorer(self.similarity_fn, self._settings(), scores, self.seed)
        answers = torch.zeros(len(values), dtype=torch.int64) if labels is None else torch.as_tensor(labels).long()
        top = top_images(values, max(self.top_images, scorer.top_k))
        layer = Layer(values, answers, top, self.top_images)
        concepts_scored = ConceptScores("concepts", names, scores, membership)
        found = dissect_layer(layer, concepts_scored, scorer, tau=self.tau, fdr=self.fdr)
        self.units_ = pd.DataFrame({"unit": range(values.shape[1]), **found.units})
        self.similarity_ = pd.DataFrame(found.similarity.numpy(), columns=names)
        self.layer_ = found.row
        return self

    def _settings(self) -> Any:
        """Section dissect of the demo with what differs."""
        settings = replace(demo().dissect, null_draws=self.null_draws)
        if self.options and not hasattr(settings, self.similarity_fn):
            raise UserError(f"{self.similarity_fn} has no options; got {', '.join(self.options)}")
        if self.options:
            own = getattr(settings, self.similarity_fn)
            if unknown := sorted(set(self.options) - set(vars(own))):
                raise UserError(f"unknown option {unknown[0]!r} of {self.similarity_fn}; known: {', '.join(vars(own))}")
            settings = replace(settings, **{self.similarity_fn: replace(own, **self.options)})
        return settings


def _tensor(what: str, values: Values) -> Tensor:
    # A copy: what pandas hands out can't be written to, of which torch warns.
    found = values.float() if isinstance(values, Tensor) else torch.from_numpy(np.array(values, np.float32))
    if found.ndim != 2 or not len(found) or not found.isfinite().all():
        raise UserError(f"{what} are {tuple(found.shape)}; expected a table (images, ...) of finite numbers")
    return found


def _check(values: Tensor, scores: Tensor, names: Sequence[str], labels: np.ndarray | Tensor | None) -> None:
    if len(values) != len(scores) or (labels is not None and len(labels) != len(values)):
        told = "" if labels is None else f", labels {len(labels)}"
        raise UserError(f"activations have {len(values)} images, concept_scores {len(scores)}{told}; expected as many")
    if len(names) != scores.shape[1] or len(set(names)) < max(len(names), 2):
        raise UserError(
            f"{len(names)} concepts are named for {scores.shape[1]} columns; expected two at least, each once"
        )
