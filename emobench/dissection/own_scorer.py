"""A score function of the user's own, with a null that holds for any: units that know nothing of the images.

The function takes concept scores (images, concepts) and activations (images, units) and returns similarity (units,
concepts), as those of :mod:`emobench.functional.similarity`. Its null gives the concept scores to other images: each
random order of the images scores all units once. A unit's own draws have its scale, but are too few for small p-values;
standardised by their mean and sd they are therefore pooled over the layer's units.
"""

import torch
from torch import Tensor

from emobench.errors import UserError
from emobench.functional.similarity.nulls import Best
from emobench.own_code import own_function, telling

PER_ORDER, ORDERS = 100, (20, 200)
"""An order stands for so many of the draws that params ask for, since it draws every unit; so many orders at least and
at most."""


class OwnScorer:
    """``FILE.py:FUNCTION`` as a scorer (see emobench.dissection.scorers).

    Args:
        asked: the function.
        scores: concept scores (images, concepts) on the probe.
        draws: params.dissect.null_draws.
        seed: of the orders, which every layer shares.

    Raises:
        UserError: no such function.
    """

    asymptotic, top_k = False, 1

    def __init__(self, asked: str, scores: Tensor, draws: int, seed: int) -> None:
        self._asked, self._function, self._scores, self._seed = asked, own_function(asked), scores, seed
        self._orders = min(max(draws // PER_ORDER, ORDERS[0]), ORDERS[1])

    def similarity(self, scores: Tensor, activations: Tensor, top: Tensor) -> Tensor:
        """(units, concepts).

        Raises:
            UserError: the function raises, or what it returns is of another shape or has NaN.
        """
        with telling(self._asked):
            found = torch.as_tensor(self._function(scores, activations))
        wanted = (activations.shape[1], scores.shape[1])
        if tuple(found.shape) != wanted or not found.is_floating_point() or found.isnan().any():
            what = (
                "with NaN (a constant unit needs numbers too)"
                if tuple(found.shape) == wanted
                else f"of shape {tuple(found.shape)}"
            )
            raise UserError(f"{self._asked} returns {found.dtype} {what}; expected float {wanted}: (units, concepts)")
        return found

    def judge(self, activations: Tensor, top: Tensor) -> tuple[Tensor, Best]:
        """Similarity on the scorer's own images, and the null of each unit's best."""
        found = self.similarity(self._scores, activations, top)
        generator = torch.Generator().manual_seed(self._seed)
        draws, concepts = [], torch.zeros(found.shape[1], dtype=torch.int64)
        for _ in range(self._orders):
            order = torch.randperm(len(self._scores), generator=generator)
            values, best = self.similarity(self._scores[order], activations, top).max(dim=1)
            draws.append(values.double())
            concepts += torch.bincount(best, minlength=len(concepts))
        return found, pooled_null(torch.stack(draws), found.amax(dim=1), concepts)


def pooled_null(draws: Tensor, observed: Tensor, concepts: Tensor) -> Best:
    """The null of each unit from the standardised draws of all.

    Args:
        draws: best similarities (draws, units) float64, at least three draws.
        observed: the same of the units as they are (units,).
        concepts: how often each concept was the best in the draws (concepts,).

    >>> spread = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None] * torch.tensor([[1.0, 10.0]])
    >>> pooled_null(spread, torch.tensor([2.0, 0.0]), torch.tensor([9, 9])).exceeding.tolist()
    [0, 9]
    """
    count = len(draws)
    mean, sd = draws.mean(dim=0), draws.std(dim=0)
    # Each draw is standardised by the others, as what was observed is by all: else its own part in them shrinks it.
    apart = (draws - mean) * count / (count - 1)
    rest = ((count - 1) * sd**2 - (draws - mean) ** 2 * count / (count - 1)) / (count - 2)
    tiny = torch.finfo(torch.float64).tiny
    pooled = (apart / rest.clamp(min=tiny).sqrt()).flatten().sort().values
    standing = (observed.double() - mean) / sd.clamp(min=tiny)
    exceeding = len(pooled) - torch.searchsorted(pooled, standing)
    return Best(exceeding, len(pooled), mean, sd, draws.flatten(), concepts.double() / concepts.sum())
