"""L of wpmi and soft_wpmi: the log-likelihood of a concept given a unit's top images, before the correction."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from emobench.functional.similarity.compiled import (
    F32,
    I32,
    MANTISSA_BITS,
    ONE_BITS,
    bits,
    compiled,
    from_bits,
    in_threads,
    power_of_two,
    spans,
)
from emobench.functional.similarity.topk import require_finite

GATHERED_AT_ONCE = 1 << 25
"""Factors held at a time by the plain path, 4 bytes each."""
PRODUCTS_AT_ONCE = 1 << 20
"""Products that a thread of the compiled path holds, 8 bytes each, half of them seldom looked at."""
DOUBLINGS = 100
"""Factors of at most 2 that a product can take."""
TINY, HUGE = F32(np.finfo(np.float32).tiny), F32(np.finfo(np.float32).max)
LN2, ROOT_2 = F32(0.6931471805599453), F32(1.4142135623730951)


def soft_wpmi_log_likelihood(
    concept_scores: torch.Tensor,
    top: torch.Tensor,
    *,
    a: float = 10.0,
    min_prob: float = 1e-7,
    p_start: float = 0.998,
    p_end: float = 0.97,
) -> torch.Tensor:
    """L of soft_wpmi for given top images, before the correction.

    L[unit, m] = sum over ranks i from 0 of log(1 + p_i (S[image, m] - 1) + min_prob), with S the softmax over concepts
    of a * concept_scores and p_i = p_start - (i / top_k)(p_start - p_end).

    Args:
        concept_scores: (images, concepts).
        top: image indices (top_k, units), int64, the most activating first.
        a: inverse temperature.
        min_prob: added inside the logarithm.
        p_start: membership at rank 0.
        p_end: membership that rank top_k would have.

    Returns:
        L (units, concepts), float32.

    Raises:
        ValueError: as ``soft_wpmi``.
    """
    if not 0 <= p_end <= p_start <= 1:
        raise ValueError(f"p_start, p_end: expected 0 <= p_end <= p_start <= 1; got {p_start}, {p_end}")
    ranks = torch.arange(len(top), dtype=torch.float64) / len(top)
    return _log_likelihood(concept_scores, top, p_start - ranks * (p_start - p_end), a, min_prob)


def wpmi_log_likelihood(
    concept_scores: torch.Tensor, top: torch.Tensor, *, a: float = 2.0, min_prob: float = 1e-7
) -> torch.Tensor:
    """L of wpmi for given top images: the sum over ranks of log(S[image, m] + min_prob); else as soft_wpmi's."""
    return _log_likelihood(concept_scores, top, torch.ones(len(top), dtype=torch.float64), a, min_prob)


def _log_likelihood(
    concept_scores: torch.Tensor, top: torch.Tensor, membership: torch.Tensor, a: float, min_prob: float
) -> torch.Tensor:
    """Sum over ranks of log(constant + slope * S): both functions in one form, the slope being the membership."""
    if not 0 <= min_prob <= 1 or not 0 <= a < math.inf:
        raise ValueError(f"a, min_prob: expected a >= 0 and 0 <= min_prob <= 1; got {a}, {min_prob}")
    if top.ndim != 2 or 0 in top.shape or not 0 <= int(top.min()) <= int(top.max()) < len(concept_scores):
        expected = f"(top_k, units) indices of {len(concept_scores)} images"
        raise ValueError(f"top: expected {expected}; got {tuple(top.shape)} with others, or none")
    slope = membership.to(concept_scores.device, torch.float32)
    # In float64 first: 1 - p keeps only four digits in float32 where p is near 1.
    constant = (1 - membership + min_prob).to(concept_scores.device, torch.float32)
    path = _compiled_log_likelihood if concept_scores.device.type == "cpu" else _gathered_log_likelihood
    return path(concept_scores, top, constant, slope, a)


def _compiled_log_likelihood(
    concept_scores: torch.Tensor, top: torch.Tensor, constant: torch.Tensor, slope: torch.Tensor, a: float
) -> torch.Tensor:
    """The path for main memory: blocks of units whose products stay near a core, and a look at all other images."""
    scores, images = concept_scores.contiguous().numpy(), top.numpy()
    units, threads = images.shape[1], torch.get_num_threads()
    rounds = math.ceil(units * scores.shape[1] / (threads * PRODUCTS_AT_ONCE))
    bounds = np.linspace(0, units, min(units, threads * rounds) + 1, dtype=int)
    likelihood = np.empty((units, scores.shape[1]), np.float32)
    factors = np.float32(min(a * math.log2(math.e), float(HUGE))), constant.numpy(), slope.numpy()
    jobs = [
        partial(_sum_of_logs, scores, *factors, np.ascontiguousarray(images[:, first:last]), likelihood[first:last])
        for first, last in pairwise(bounds)
    ]
    others = np.ones(len(scores), bool)
    others[images] = False
    jobs += [partial(_all_finite, scores, rows) for rows in np.array_split(np.flatnonzero(others), 4 * threads)]
    if not all(in_threads(lambda job: job(), jobs)):
        require_finite("concept_scores", concept_scores)
    return torch.from_numpy(likelihood)


def _gathered_log_likelihood(
    concept_scores: torch.Tensor, top: torch.Tensor, constant: torch.Tensor, slope: torch.Tensor, a: float
) -> torch.Tensor:
    """The plain path, for any device: units in blocks, their top images' softmax rows gathered."""
    require_finite("concept_scores", concept_scores)
    images, place = top.unique(return_inverse=True)
    softmax = torch.softmax(concept_scores[images].mul_(a), dim=1)
    units = max(1, GATHERED_AT_ONCE // (len(top) * softmax.shape[1]))
    likelihood = softmax.new_empty(top.shape[1], softmax.shape[1])
    for start in range(0, top.shape[1], units):
        factors = softmax[place[:, start : start + units]]
        factors.mul_(slope[:, None, None]).add_(constant[:, None, None]).clamp_(min=torch.finfo(torch.float32).tiny)
        likelihood[start : start + units] = factors.log_().sum(0)
    return likelihood


@compiled
def _sum_of_logs(
    scores: np.ndarray, a: float, constant: np.ndarray, slope: np.ndarray, top: np.ndarray, result: np.ndarray
) -> bool:
    """Writes the sums over ranks of log(constant + slope * softmax).

    The factors are multiplied, image by image. Before a product could leave float32's range, it keeps its mantissa and
    hands its exponent to an integer, so that one logarithm a (unit, concept) is left for the end.

    Args:
        scores: (images, concepts).
        a: inverse temperature of the softmax to base 2.
        constant: (ranks,).
        slope: (ranks,).
        top: images (ranks, units).
        result: (units, concepts).

    Returns:
        False where a score of these images is NaN or infinite; ``result`` is then not valid.
    """
    images, starts, places = _by_image(top, len(scores))
    units, concepts = result.shape
    products, exponents = np.ones((units, concepts), np.float32), np.zeros((units, concepts), np.int32)
    least, pending = np.ones(units, np.float32), np.zeros(units, np.int64)
    powers = np.empty(concepts, np.float32)
    for n in range(len(images)):
        if n % 4 == 0:
            ends = _spans_of(scores, images, n)
        i, (low, high) = images[n], ends[n % 4]
        if not high >= low:
            return False
        scale = F32(1) / _powers(scores[i], a, high, powers)
        smallest = power_of_two(a * (low - high)) * scale
        for place in places[starts[i] : starts[i + 1]]:
            r, u = place // units, place % units
            c, s = max(constant[r], TINY), slope[r] * scale
            factor = c + slope[r] * smallest
            if least[u] * factor < 2 * TINY or pending[u] == DOUBLINGS:
                _normalise(products[u], exponents[u])
                least[u], pending[u] = F32(1), 0
            least[u] *= factor
            pending[u] += 1
            product = products[u]
            for m in range(concepts):
                product[m] *= c + s * powers[m]
    for u in range(units):
        _normalise(products[u], exponents[u])
        _logarithms(products[u], exponents[u], result[u])
    return True


@compiled
def _by_image(top: np.ndarray, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorts places rank * units + unit of ``top`` (ranks, units) by the image that stands there.

    Returns:
        The images that occur, ascending; starts (images + 1,), so that image i's places are places[starts[i] :
        starts[i + 1]]; places (ranks * units,).
    """
    flat = top.ravel()
    starts = np.zeros(images + 1, np.int64)
    for image in flat:
        starts[image + 1] += 1
    found = np.flatnonzero(starts) - 1
    starts = np.cumsum(starts)
    free = starts.copy()
    places = np.empty(len(flat), np.int64)
    for place in range(len(flat)):
        image = flat[place]
        places[free[image]] = place
        free[image] += 1
    return found, starts, places


@compiled
def _all_finite(scores: np.ndarray, rows: np.ndarray) -> bool:
    """Whether some rows of scores (images, concepts) hold neither NaN nor infinity."""
    for n in range(0, len(rows), 4):
        for low, high in _spans_of(scores, rows, n):
            if not high >= low:
                return False
    return True


@compiled
def _spans_of(scores: np.ndarray, rows: np.ndarray, n: int) -> tuple[tuple[float, float], ...]:
    """``spans`` of the rows that stand from place ``n`` on, the last one again where fewer than four are left."""
    last = len(rows) - 1
    return spans(
        scores[rows[n]], scores[rows[min(n + 1, last)]], scores[rows[min(n + 2, last)]], scores[rows[min(n + 3, last)]]
    )


@partial(compiled, fastmath=frozenset({"contract", "reassoc", "nsz"}))
def _powers(row: np.ndarray, a: float, high: float, powers: np.ndarray) -> np.float32:
    """Fills ``powers`` with 2^(a * (row - high)); returns their sum, taken in partial sums side by side."""
    result = F32(0)
    for m in range(len(row)):
        powers[m] = power_of_two(a * (row[m] - high))
        result += powers[m]
    return result


@compiled
def _normalise(product: np.ndarray, exponent: np.ndarray) -> None:
    """Moves the binary exponents of ``product`` into ``exponent``; what stays lies in [1, 2)."""
    for m in range(len(product)):
        pattern = bits(product[m])
        exponent[m] += I32((pattern >> 23) - 127)
        product[m] = from_bits(I32((pattern & MANTISSA_BITS) | ONE_BITS))


@compiled
def _logarithms(mantissas: np.ndarray, exponents: np.ndarray, result: np.ndarray) -> None:
    """Writes log(mantissa * 2^exponent), with the mantissas in [1, 2)."""
    for m in range(len(mantissas)):
        # log x = log 2 / 2 + 2 artanh z; |z| < 0.172, so that the terms left out are below 1e-9.
        z = (mantissas[m] - ROOT_2) / (mantissas[m] + ROOT_2)
        square = z * z
        series = ((F32(2 / 9) * square + F32(2 / 7)) * square + F32(2 / 5)) * square + F32(2 / 3)
        result[m] = (series * square + F32(2)) * z + (F32(exponents[m]) + F32(0.5)) * LN2
