"""Nulls of the cosines and of rank_reorder: they depend on the unit, and are computed from a normal limit.

Under a random order of the images the similarity to one concept is a linear statistic with exactly known mean and
variance; its normal limit is used (Hoeffding 1951, A combinatorial central limit theorem, Ann. Math. Stat. 22, whose
statistic is a sum of c(i, order(i)) over the images i):

- cosines: c is the product of the unit's and the concept's value; the limits of several concepts are correlated as
  their scores.
- rank_reorder: c is |difference|^p of the activations; the mean of a random order is held against the observed mean of
  the random orders, and the mean score of random images. Orders by several concepts count as independent, which makes
  the best of them larger and the p-value cautious.

Conventions are those of nulls.
"""

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from emobench.functional.columns import centred, constant_columns
from emobench.functional.similarity.compiled import F32, compiled, in_threads
from emobench.functional.similarity.nulls import Best

UNDEFINED = F32(-1e25)
"""A best similarity below this stands for minus infinity: no concept had a positive mean score."""
DRAWS_AT_ONCE = 1024
"""Draws whose best concept is looked for in one go: the two matrices' part then stays in a core's cache."""


@dataclass(frozen=True)
class Asymptotic:
    """A null in which unit u's similarity to concept m in draw d is first_u * still[d, m] + second_u * moving[d, m].

    ``still`` and ``moving`` are float32 (draws, concepts), shared by all units; first and second are float32 (units,).
    """

    still: Tensor
    moving: Tensor

    def best(self, first: Tensor, second: Tensor, observed: Tensor) -> Best:
        """The null for units with these two numbers and observed best similarities, (units,) each."""
        draws, concepts = self.moving.shape
        arrays = [np.ascontiguousarray(matrix.float().T.numpy()) for matrix in (self.still, self.moving)]
        reached = observed.nan_to_num(math.inf, math.inf, -math.inf)  # no draw reaches what is not a number
        numbers = [vector.float().contiguous().numpy() for vector in (first, second, reached)]
        exceeding, sums = np.zeros(len(first), np.int64), np.zeros((3, len(first)))
        centre = np.where(np.isfinite(numbers[2]), numbers[2], F32(0))
        parts = np.linspace(0, len(first), 4 * torch.get_num_threads() + 1, dtype=int)
        in_threads(
            lambda part: _best_of_draws(
                *arrays, *(vector[part] for vector in (*numbers, centre)), exceeding[part], sums[:, part]
            ),
            [slice(*pair) for pair in pairwise(parts)],
        )
        count = np.maximum(sums[2], 2)
        mean = torch.from_numpy(sums[0] / count + centre)
        sd = torch.from_numpy(np.sqrt(np.maximum(sums[1] - sums[0] ** 2 / count, 0) / (count - 1)))
        # A sample over units and draws: each draw at another unit.
        unit = torch.arange(draws) % len(first)
        sample, winner = (first[unit, None] * self.still + second[unit, None] * self.moving).max(dim=1)
        best = torch.bincount(winner, minlength=concepts).double() / draws
        defined = sample[sample > float(UNDEFINED)] if (sample > float(UNDEFINED)).any() else sample[:1] * torch.nan
        return Best(torch.from_numpy(exceeding), draws, mean, sd, defined, best)


@partial(compiled, fastmath=frozenset({"contract", "reassoc", "nsz", "nnan"}))
def _best_of_draws(
    still: np.ndarray, moving: np.ndarray, first: np.ndarray, second: np.ndarray, observed: np.ndarray,
    centre: np.ndarray, exceeding: np.ndarray, sums: np.ndarray,
) -> None:  # fmt: skip
    """For each unit over all draws: how often the best concept reaches the observed, and sums of its distance to it.

    Nothing may be NaN. Four concepts go at once, so that what a core does in vectors isn't spent on loading the best.

    Args:
        still: (concepts, draws).
        moving: (concepts, draws).
        first: (units,).
        second: (units,).
        observed: (units,).
        centre: (units,), what distances are taken from: near the draws, so that their squares stay exact.
        exceeding: (units,), counted up.
        sums: (3, units), the distance, its square and the number of draws with a finite best are added up.
    """
    (concepts, draws), one_, none = moving.shape, F32(1), F32(0)
    best = np.empty(DRAWS_AT_ONCE, np.float32)
    for start in range(0, draws, DRAWS_AT_ONCE):
        count = min(DRAWS_AT_ONCE, draws - start)
        part = slice(start, start + count)
        for u in range(len(first)):
            a, b = first[u], second[u]
            s0, t0 = still[0, part], moving[0, part]
            for d in range(count):
                best[d] = a * s0[d] + b * t0[d]
            for m in range(1, concepts, 4):
                # Past the last concept the last one again: it changes no maximum.
                m1, m2, m3 = min(m + 1, concepts - 1), min(m + 2, concepts - 1), min(m + 3, concepts - 1)
                s0, s1, s2, s3 = still[m, part], still[m1, part], still[m2, part], still[m3, part]
                t0, t1, t2, t3 = moving[m, part], moving[m1, part], moving[m2, part], moving[m3, part]
                for d in range(count):
                    left = max(a * s0[d] + b * t0[d], a * s1[d] + b * t1[d])
                    right = max(a * s2[d] + b * t2[d], a * s3[d] + b * t3[d])
                    best[d] = max(best[d], max(left, right))
            total, square, finite, found = none, none, none, none
            reached, middle = observed[u], centre[u]
            for d in range(count):
                found += one_ if best[d] >= reached else none
                distance = best[d] - middle if best[d] > UNDEFINED else none
                total += distance
                square += distance * distance
                finite += one_ if best[d] > UNDEFINED else none
            exceeding[u] += np.int64(found)
            sums[0, u] += total
            sums[1, u] += square
            sums[2, u] += finite


def correlated_normals(columns: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Standard normals (draws, concepts), correlated as the columns of a matrix (images, concepts).

    A constant column gives zeros.
    """
    moving = ~constant_columns(columns)
    # Without the constants: rounding lends a zero eigenvalue a root of 1e-8, of which every column would get a share.
    directions = centred(columns[:, moving])
    directions /= directions.norm(dim=0)
    values, vectors = torch.linalg.eigh(directions.T @ directions)
    free = torch.randn(draws, len(values), generator=generator, dtype=torch.float64)
    drawn = torch.zeros(draws, len(moving))
    drawn[:, moving] = (free @ (vectors * values.clamp(min=0).sqrt()).T).float()
    return drawn


def cosine_null(concept_scores: Tensor, draws: int, generator: torch.Generator, min_norm: float = 0.0) -> Asymptotic:
    """The shared part of the null of a cosine of a unit's vector and a concept's vector over images in random order.

    With x the unit's and y the concept's vector, cos = (n x̄ȳ + n sd(x) sd(y) Z / sqrt(n-1)) / (|x||y|).

    Args:
        concept_scores: (images, concepts), as the cosine uses them: for the cubed one centred and cubed.
        draws: how many.
        generator: of the normals.
        min_norm: what a vector's norm counts as at least.
    """
    count, (means, shares) = len(concept_scores), _mean_and_spread(concept_scores, min_norm)
    moving = correlated_normals(concept_scores, draws, generator) * (shares / math.sqrt(count - 1)).float()
    return Asymptotic(means.float().expand(draws, -1).contiguous(), moving)


def cosine_units(activations: Tensor, min_norm: float = 0.0) -> tuple[Tensor, Tensor]:
    """The two numbers of each unit in ``cosine_null``: share of its norm that is mean, and that is spread."""
    first, second = _mean_and_spread(activations, min_norm)
    return first.float(), second.float()


def _mean_and_spread(vectors: Tensor, min_norm: float) -> tuple[Tensor, Tensor]:
    """sqrt(n) |mean| and sqrt(n) sd of each column (images, columns), signed, over its norm; zeros where that is 0."""
    centre = vectors.mean(dim=0, dtype=torch.float64)
    norms = torch.linalg.vector_norm(vectors, dim=0, dtype=torch.float64)
    spread = (norms.square() - len(vectors) * centre.square()).clamp(min=0).sqrt()
    least = norms.clamp(min=max(min_norm, torch.finfo(torch.float64).tiny))
    return math.sqrt(len(vectors)) * centre / least, spread / least


def reorder_null(
    concept_scores: Tensor, top_k: int, scale_p: float, draws: int, generator: torch.Generator
) -> Asymptotic:
    """The shared part of rank_reorder's null: the mean score of ``top_k`` random images, and the order's own noise.

    Args:
        concept_scores: (images, concepts).
        top_k: how many of a unit's images count.
        scale_p: power of the mean score.
        draws: how many.
        generator: of the normals.
    """
    images = len(concept_scores)
    spread = concept_scores.std(dim=0, unbiased=False).double() * math.sqrt((images - top_k) / (images - 1) / top_k)
    means = concept_scores.double().mean(dim=0) + spread * correlated_normals(concept_scores, draws, generator)
    # Where a mean isn't positive its power is undefined: that concept can't be the best.
    scaled = torch.where(means > 0, means.clamp(min=1e-30) ** -scale_p, 1e30).float()
    noise = torch.randn(means.shape, generator=generator, dtype=torch.float32)
    return Asymptotic(-scaled, torch.where(means > 0, -scaled * noise, 0))


def reorder_units(values: Tensor, baseline: Tensor, p: int) -> tuple[Tensor, Tensor]:
    """The two numbers of each unit in ``reorder_null``: mean and sd of a random order's error over ``baseline``.

    Args:
        values: (k, units), the top activations, descending.
        baseline: (units,), the observed mean error of random orders.
        p: power of the differences.

    Returns:
        (units,) float32 each; one and zero for a unit whose top activations are all equal.
    """
    count = len(values)
    spread = (values[0] - values[-1]).double()
    scaled = (values.flip(0) - values[-1]).double() / torch.where(spread > 0, spread, 1.0)
    rows = _power_sums(scaled, p)
    power_sums = [scaled.pow(q).sum(0) for q in range(2 * p + 1)]
    squares = sum((-1) ** q * math.comb(2 * p, q) * power_sums[2 * p - q] * power_sums[q] for q in range(2 * p + 1))
    total = rows.sum(0)
    variance = (squares - 2 / count * rows.square().sum(0) + (total / count) ** 2) / (max(count - 1, 1) * count**2)
    unit = torch.where(baseline > 0, spread**p / baseline, 0.0)
    mean = torch.where(baseline > 0, unit * total / count**2, 1.0)
    return mean.float(), (unit * variance.clamp(min=0).sqrt()).float()


def _power_sums(ascending: Tensor, p: int) -> Tensor:
    """Sum over j of |v_i - v_j|^p for every i, (k, units), from running sums of powers: no table of all pairs."""
    rows = torch.zeros_like(ascending)
    for q in range(p + 1):
        below = ascending.pow(q).cumsum(0)
        above = below[-1] - below
        rows += math.comb(p, q) * (-1) ** q * ascending.pow(p - q) * (below + (-1) ** p * above)
    return rows.clamp_(min=0)
