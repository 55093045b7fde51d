"""L of wpmi and soft_wpmi: the log-likelihood of a concept given a unit's top images, before the correction."""

import math
from itertools import pairwise

import numpy as np
import torch

from emobench.functional.compiled import (
    F32,
    I32,
    MANTISSA_BITS,
    ONE_BITS,
    bits,
    compiled,
    exp_of_negative,
    from_bits,
    in_threads,
    span,
    total,
)
from emobench.functional.topk import require_finite

GATHERED_AT_ONCE = 1 << 25
"""Factors held at a time by the plain path, 4 bytes each."""
PRODUCTS_AT_ONCE = 1 << 19
"""Products that a thread of the compiled path keeps close to its core, 8 bytes each."""
TINY = F32(np.finfo(np.float32).tiny)
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
    """The path for main memory: blocks of units times concepts whose products stay in a core's cache."""
    scores, images, a = concept_scores.contiguous().numpy(), top.numpy(), np.float32(a)
    threads = torch.get_num_threads()
    needed = np.zeros(len(scores), bool)
    needed[images] = True
    shift, scale = np.empty((2, len(scores)), np.float32)
    bounds = np.linspace(0, len(scores), 4 * threads + 1, dtype=int)
    ends = in_threads(lambda part: _softmax_rows(scores, a, *part, needed, shift, scale), pairwise(bounds))
    if not np.isfinite(ends).all():
        require_finite("concept_scores", concept_scores)
    lowest, highest = np.min(ends), np.max(ends)
    # No factor is smaller; so many of them stay within float32's range.
    smallest = float((constant + slope * math.exp(float(a) * float(lowest - highest)) / scores.shape[1]).min())
    group = max(1, min(32, int(math.log(1e-37) / math.log(min(max(smallest, 1e-37), 0.5)))))
    likelihood = np.empty((images.shape[1], scores.shape[1]), np.float32)
    factors = constant.numpy(), slope.numpy(), group
    parts = _parts(images, scores.shape[1], threads)
    in_threads(lambda part: _sum_of_logs(scores, a, shift, scale, *factors, *part, likelihood), parts)
    return torch.from_numpy(likelihood)


def _parts(images: np.ndarray, concepts: int, threads: int) -> list[tuple[np.ndarray, tuple[int, int, int, int]]]:
    """The (triples, tile) arguments of ``_sum_of_logs`` that cover top images (top_k, units) and all concepts."""
    # All units of a tile share its softmax: few concepts a tile rather than few units, but whole cache lines.
    width = min(concepts, max(128, PRODUCTS_AT_ONCE // images.shape[1]), max(128, math.ceil(concepts / threads)))
    columns = [(first, min(width, concepts - first)) for first in range(0, concepts, width)]
    height = min(PRODUCTS_AT_ONCE // width, math.ceil(images.shape[1] * len(columns) / threads))
    parts = []
    for start in range(0, images.shape[1], height):
        block = images[:, start : start + height]
        image, place = np.divmod(np.sort(block.ravel() * block.size + np.arange(block.size)), block.size)
        triples = np.stack([image, *np.divmod(place, block.shape[1])[::-1]])
        parts += [(triples, (start, block.shape[1], *part)) for part in columns]
    return parts


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
def _softmax_rows(
    scores: np.ndarray, a: float, first: int, last: int, needed: np.ndarray, shift: np.ndarray, scale: np.ndarray
) -> tuple[float, float]:
    """For rows first..last that are needed: softmax(a * row) is exp(a * row - shift) * scale.

    Returns:
        The smallest and the largest of all scores in first..last; NaN where a score is NaN or infinite.
    """
    exponentials = np.empty(scores.shape[1], np.float32)
    smallest, largest = F32(np.inf), F32(-np.inf)
    for i in range(first, last):
        row = scores[i]
        low, high = span(row)
        if not high >= low:
            return low, high
        smallest, largest = min(smallest, low), max(largest, high)
        if not needed[i]:
            continue
        minus = a * high
        for m in range(len(row)):
            exponentials[m] = exp_of_negative(a * row[m] - minus)
        shift[i], scale[i] = minus, F32(1) / total(exponentials)
    return smallest, largest


@compiled
def _sum_of_logs(
    scores: np.ndarray,
    a: float,
    shift: np.ndarray,
    scale: np.ndarray,
    constant: np.ndarray,
    slope: np.ndarray,
    group: int,
    triples: np.ndarray,
    tile: tuple[int, int, int, int],
    result: np.ndarray,
) -> None:
    """Sums log(constant + slope * softmax) over (image, unit, rank) triples that are sorted by image.

    The factors are multiplied. After every ``group`` of them, as many as float32 can take, the product keeps its
    mantissa and hands its exponent to an integer, so that one logarithm a (unit, concept) is left for the end.

    Args:
        scores: (images, concepts).
        a: inverse temperature.
        shift: (images,), from ``_softmax_rows``.
        scale: (images,), from ``_softmax_rows``.
        constant: (ranks,).
        slope: (ranks,).
        group: factors between two looks at the exponent.
        triples: (3, triples), a unit counted from the tile's first.
        tile: first unit, number of units, first concept, number of concepts: the part of ``result`` to overwrite.
        result: (units, concepts).
    """
    (image, unit, rank), (base, units, first, concepts) = triples, tile
    products = np.ones((units, concepts), np.float32)
    exponents = np.zeros((units, concepts), np.int32)
    pending = np.zeros(units, np.int64)
    probability = np.empty(concepts, np.float32)
    for triple in range(len(image)):
        i, u, r = image[triple], unit[triple], rank[triple]
        if triple == 0 or image[triple - 1] != i:
            row, minus, times = scores[i, first : first + concepts], shift[i], scale[i]
            for m in range(concepts):
                probability[m] = exp_of_negative(a * row[m] - minus) * times
        product, c, s = products[u], max(constant[r], TINY), slope[r]
        for m in range(concepts):
            product[m] *= c + s * probability[m]
        pending[u] += 1
        if pending[u] == group:
            pending[u] = 0
            _normalise(product, exponents[u])
    for u in range(units):
        _normalise(products[u], exponents[u])
        target = result[base + u, first : first + concepts]
        for m in range(concepts):
            # log x = log 2 / 2 + 2 artanh z; |z| < 0.172, so that the terms left out are below 1e-9.
            z = (products[u, m] - ROOT_2) / (products[u, m] + ROOT_2)
            square = z * z
            series = ((F32(2 / 9) * square + F32(2 / 7)) * square + F32(2 / 5)) * square + F32(2 / 3)
            log_mantissa = (series * square + F32(2)) * z
            target[m] = log_mantissa + (F32(exponents[u, m]) + F32(0.5)) * LN2


@compiled
def _normalise(product: np.ndarray, exponent: np.ndarray) -> None:
    """Moves the binary exponents of ``product`` into ``exponent``; what stays lies in [1, 2)."""
    for m in range(len(product)):
        pattern = bits(product[m])
        exponent[m] += I32((pattern >> 23) - 127)
        product[m] = from_bits(I32((pattern & MANTISSA_BITS) | ONE_BITS))
