"""The five similarity functions with their parameters filled in, and the user's, each with its null on a concept set.

A scorer is made once for a benchmark's probe and concept set; then it scores any layer of any network. Conventions as
in ``similarity``, ``nulls`` and ``asymptotic``. Every scorer is handed the sorted top images that all of them share.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from emobench.dissection.own_scorer import OwnScorer
from emobench.errors import UserError, unknown_name
from emobench.functional.similarity import scores as similarity
from emobench.functional.similarity.asymptotic import cosine_null, cosine_units, reorder_null, reorder_units
from emobench.functional.similarity.nulls import Best, random_top_images, shared_null
from emobench.functional.similarity.reordering import random_errors, reorder_scores
from emobench.settings.dissect import SIMILARITY_FNS, Dissect
from emobench.settings.network import file_of


class Scorer(Protocol):
    """A similarity function on one concept set; ``top_k`` is how many sorted top images of each unit it needs."""

    top_k: int
    asymptotic: bool

    def similarity(self, scores: Tensor, activations: Tensor, top: Tensor) -> Tensor:
        """(units, concepts) from scores (images, concepts), activations (images, units) and top (k, units)."""

    def judge(self, activations: Tensor, top: Tensor) -> tuple[Tensor, Best]:
        """Similarity on the scorer's own images, and the null of each unit's best."""


def make_scorer(name: str, params: Dissect, scores: Tensor, seed: int) -> Scorer:
    """A scorer for concept scores (images, concepts).

    Args:
        name: one of SIMILARITY_FNS, or FILE.py:FUNCTION.
        params: parameters of the functions, and how many null draws.
        scores: on the probe.
        seed: of the null draws and of rank_reorder's orders: every layer starts from the same state.

    Raises:
        UserError: an unknown name, or more top images than the probe has.
    """
    if file_of(name)[1]:
        return OwnScorer(name, scores, params.null_draws, seed)
    if name not in SIMILARITY_FNS:
        raise unknown_name("similarity function", name, SIMILARITY_FNS)
    options: dict[str, Any] = dict(vars(getattr(params, name))) if hasattr(params, name) else {}
    generator = torch.Generator().manual_seed(seed)
    if options.get("top_k", 1) > len(scores):
        raise UserError(f"params: dissect.{name}.top_k is {options['top_k']}; the probe has {len(scores)} images")
    if name in _LIKELIHOODS:
        return _Likelihood(_LIKELIHOODS[name], options, scores, params.null_draws, generator)
    if name == "rank_reorder":
        return _Reorder(options, scores, params.null_draws, seed)
    return _Cosine(name == "cos_similarity_cubed", scores, params.null_draws, generator)


_LIKELIHOODS: Mapping[str, Callable[..., Tensor]] = {
    "soft_wpmi": similarity.soft_wpmi_log_likelihood,
    "wpmi": similarity.wpmi_log_likelihood,
}


class _Likelihood:
    """wpmi and soft_wpmi: the draws are log-likelihoods of random top images, made once."""

    asymptotic = False

    def __init__(
        self, function: Callable[..., Tensor], options: dict, scores: Tensor, draws: int, generator: torch.Generator
    ) -> None:
        self.top_k, self._lam = options.pop("top_k"), options.pop("lam")
        self._function, self._options, self._scores = function, options, scores
        self._drawn = function(scores, random_top_images(len(scores), self.top_k, draws, generator), **options)

    def similarity(self, scores: Tensor, activations: Tensor, top: Tensor) -> Tensor:
        likelihood = self._function(scores, top[: self.top_k], **self._options)
        return likelihood.sub_(similarity.normaliser(likelihood, self._lam))

    def judge(self, activations: Tensor, top: Tensor) -> tuple[Tensor, Best]:
        likelihood = self._function(self._scores, top[: self.top_k], **self._options)
        normaliser = similarity.normaliser(likelihood, self._lam)
        likelihood -= normaliser
        return likelihood, shared_null(self._drawn, normaliser, likelihood.amax(dim=1))


class _Cosine:
    """cos_similarity and cos_similarity_cubed."""

    asymptotic, top_k = True, 1

    def __init__(self, cubed: bool, scores: Tensor, draws: int, generator: torch.Generator) -> None:
        self._function = similarity.cos_similarity_cubed if cubed else similarity.cos_similarity
        self._cubed, self._scores = cubed, scores
        self._null = cosine_null(self._vectors(scores), draws, generator, self._floor)

    @property
    def _floor(self) -> float:
        return similarity.MIN_NORM if self._cubed else 0.0

    def _vectors(self, values: Tensor) -> Tensor:
        return (values - values.mean(dim=0)).pow(3) if self._cubed else values

    def similarity(self, scores: Tensor, activations: Tensor, top: Tensor) -> Tensor:
        return self._function(scores, activations)

    def judge(self, activations: Tensor, top: Tensor) -> tuple[Tensor, Best]:
        found = self._function(self._scores, activations)
        parts = [cosine_units(self._vectors(block), self._floor) for block in activations.split(256, dim=1)]
        first, second = (torch.cat(part) for part in zip(*parts, strict=True))
        return found, self._null.best(first, second, found.amax(dim=1))


class _Reorder:
    """rank_reorder."""

    asymptotic = True

    def __init__(self, options: Mapping[str, Any], scores: Tensor, draws: int, seed: int) -> None:
        self._p, self._scale_p, self._seed, self._scores = options["p"], options["scale_p"], seed, scores
        self.top_k = similarity.reorder_count(len(scores), options["top_fraction"])
        generator = torch.Generator().manual_seed(seed)
        self._null = reorder_null(scores, self.top_k, self._scale_p, draws, generator)

    def similarity(self, scores: Tensor, activations: Tensor, top: Tensor) -> Tensor:
        return self._scored(scores, activations, top)[0]

    def judge(self, activations: Tensor, top: Tensor) -> tuple[Tensor, Best]:
        found, values, errors = self._scored(self._scores, activations, top)
        return found, self._null.best(*reorder_units(values, errors, self._p), found.amax(dim=1))

    def _scored(self, scores: Tensor, activations: Tensor, top: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        top = top[: self.top_k]
        values = activations.gather(0, top)
        errors = random_errors(values, self._p, torch.Generator().manual_seed(self._seed))
        return reorder_scores(scores, top, values, errors, self._p, self._scale_p), values, errors
