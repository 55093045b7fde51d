"""Searches judged by folds: what a fold's images get was fitted, and chosen, on the images of all other folds.

Of the *ways* of a search (how strongly scales are pulled to one, on which side of which threshold they act) each fold
takes the one that is best on the other folds, by scales that were fitted on neither: cross-fitting within
cross-fitting. A fit without the folds j and k scores j for k's choice and k for j's, so that nothing is fitted twice.
A search with one way has nothing to choose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from emobench.edits.family import best_index
from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import probability_metrics
from emobench.progress import progress
from emobench.sweeps.scaled import ScaledNetwork, search_scales


@dataclass(frozen=True)
class Way:
    """One way of a search: a network with scaled layers, which units share a scale, and the pull of scales to one."""

    name: str
    network: ScaledNetwork
    groups: Mapping[str, Tensor]
    penalty: float


@dataclass(frozen=True)
class Descent:
    """How scales are fitted (see search_scales)."""

    steps: int
    batch_size: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class FoldSearch:
    """A search among some images, and what its fits gave so far.

    Args:
        ways: at least one; all of the same images.
        labels: (images,) int64.
        descent: of every fit.
    """

    ways: Sequence[Way]
    labels: Tensor
    descent: Descent
    _fits: dict[tuple, dict[str, Tensor]] = field(default_factory=dict)

    def cross_fitted(self, folds: np.ndarray) -> tuple[Tensor, list[str]]:
        """Logits (images, classes) of images by choices that never saw their fold, and the way each fold chose.

        Args:
            folds: (images,) the fold of each, from 0; -1 for images that are neither looked at nor answered.
        """
        count, logits, chosen = int(folds.max()) + 1, None, []
        for fold in progress(range(count), desc="judge by folds", unit="fold"):
            way = self._best(folds, fold)
            own = np.flatnonzero(folds == fold)
            answers = way.network.all_logits(self._scales(way, folds, {fold}), own)
            logits = torch.full((len(folds), answers.shape[1]), torch.nan) if logits is None else logits
            logits[own] = answers
            chosen.append(way.name)
        assert logits is not None
        return logits, chosen

    def chosen(self, folds: np.ndarray) -> tuple[Way, dict[str, Tensor]]:
        """The way that is best by cross-fitting on the images with a fold, and its scales, fitted on all of them."""
        way = self._best(folds, None)
        return way, self._scales(way, folds, set())

    def _best(self, folds: np.ndarray, without: int | None) -> Way:
        """The way that scores best on the folds but one, each fold by scales fitted on the others of them."""
        if len(self.ways) == 1:
            return self.ways[0]
        others = [fold for fold in range(int(folds.max()) + 1) if fold != without]
        rows = np.concatenate([np.flatnonzero(folds == fold) for fold in others])
        scores = []
        for way in self.ways:
            left_out = [{fold} if without is None else {fold, without} for fold in others]
            parts = [
                way.network.all_logits(self._scales(way, folds, out), np.flatnonzero(folds == fold))
                for fold, out in zip(others, left_out, strict=True)
            ]
            logits, labels = torch.cat(parts), self.labels[rows]
            nll = probability_metrics(logits / fit_temperature(logits, labels), labels)["nll"]
            scores.append(((logits.argmax(1) == labels).double().mean().item(), float(nll)))
        accuracy, loss = np.array(scores).T
        return self.ways[best_index(accuracy, loss)]

    def _scales(self, way: Way, folds: np.ndarray, out: set[int]) -> dict[str, Tensor]:
        """Fitted on the images of all folds but these; no fit is made twice."""
        rows = np.flatnonzero((folds >= 0) & ~np.isin(folds, list(out)))
        key = (way.name, rows.tobytes())
        if key not in self._fits:
            self._fits[key] = search_scales(
                way.network, self.labels, rows, way.groups, penalty=way.penalty, **vars(self.descent)
            )
        return self._fits[key]


def fits_needed(ways: int, folds: int) -> int:
    """How many fits judging by folds and one choice on as many folds of other images take.

    >>> fits_needed(1, 5), fits_needed(2, 5)
    (6, 36)
    """
    if ways == 1:
        return folds + 1
    return ways * (len(list(combinations(range(folds), 2))) + folds) + folds + 1
