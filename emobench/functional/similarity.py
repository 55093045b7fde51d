"""How well each concept describes each unit: the five similarity functions of CLIP-Dissect.

Conventions: concept_scores (images, concepts) is the cosine of CLIP's image and concept embeddings, activations
(images, units) one number for each image and unit; both float32 and on one device, where the work is done and the
result stays. Every function returns (units, concepts), float32, larger meaning a better description. Values of
different functions, layers or concept sets don't compare. Equal activations rank by image index, the smaller first.
A constant unit is scored like any other.

Source: Oikarinen and Weng, CLIP-Dissect (ICLR 2023, arXiv:2204.10965), section 3.2 and appendix A, with the defaults of
the seed paper's code.
"""

import math
from itertools import pairwise

import numpy as np
import torch

from emobench.functional.kernels import in_threads, softmax_rows, sum_of_logs
from emobench.functional.topk import require_finite, top_images

GATHERED_AT_ONCE = 1 << 25
"""Factors held at a time by the plain path, 4 bytes each."""
PRODUCTS_AT_ONCE = 1 << 17
"""Products that a thread of the compiled path keeps in its core's cache, 8 bytes each."""


def soft_wpmi(
    concept_scores: torch.Tensor,
    activations: torch.Tensor,
    *,
    top_k: int = 100,
    a: float = 10.0,
    lam: float = 1.0,
    min_prob: float = 1e-7,
    p_start: float = 0.998,
    p_end: float = 0.97,
) -> torch.Tensor:
    """Weighted pointwise mutual information with soft membership of the top images (CLIP-Dissect, SoftWPMI).

    score = L - lam (logsumexp over units of L - log units), with L from ``soft_wpmi_log_likelihood``. The zero depends
    on the layer's other units and on the concept set.

    Args:
        concept_scores: (images, concepts).
        activations: (images, units).
        top_k: how many of a unit's most activating images count.
        a: inverse temperature of the softmax over concepts.
        lam: weight of the correction for concepts that are likely for every unit.
        min_prob: added inside the logarithm.
        p_start: probability that the most activating image belongs to the unit's concept.
        p_end: where that probability would arrive at rank top_k, falling linearly.

    Returns:
        Similarity (units, concepts).

    Raises:
        ValueError: an argument of wrong shape, device or range, or NaN or infinity in it.
    """
    _check(concept_scores, activations)
    top = _top(activations, top_k)
    likelihood = soft_wpmi_log_likelihood(concept_scores, top, a=a, min_prob=min_prob, p_start=p_start, p_end=p_end)
    return _corrected(likelihood, lam)


def wpmi(
    concept_scores: torch.Tensor,
    activations: torch.Tensor,
    *,
    top_k: int = 28,
    a: float = 2.0,
    lam: float = 0.6,
    min_prob: float = 1e-7,
) -> torch.Tensor:
    """Weighted pointwise mutual information (CLIP-Dissect, WPMI): soft_wpmi with every top image a full member.

    Arguments, result and errors as in ``soft_wpmi``.
    """
    _check(concept_scores, activations)
    return _corrected(wpmi_log_likelihood(concept_scores, _top(activations, top_k), a=a, min_prob=min_prob), lam)


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
    if min_prob < 0:
        raise ValueError(f"min_prob: expected at least 0; got {min_prob}")
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
    ends = in_threads(lambda part: softmax_rows(scores, a, *part, needed, shift, scale), pairwise(bounds))
    if not np.isfinite(ends).all():
        require_finite("concept_scores", concept_scores)
    lowest, highest = np.min(ends), np.max(ends)
    # No factor is smaller; so many of them stay within float32's range.
    smallest = float((constant + slope * math.exp(float(a) * float(lowest - highest)) / scores.shape[1]).min())
    group = max(1, min(32, int(math.log(1e-37) / math.log(min(max(smallest, 1e-37), 0.5)))))
    likelihood = np.empty((images.shape[1], scores.shape[1]), np.float32)
    width = min(512, scores.shape[1])
    height = min(PRODUCTS_AT_ONCE // width, math.ceil(images.shape[1] / threads) if width < 512 else images.shape[1])

    parts = []
    for start in range(0, images.shape[1], height):
        block = images[:, start : start + height]
        image, place = np.divmod(np.sort(block.ravel() * block.size + np.arange(block.size)), block.size)
        rank, unit = np.divmod(place, block.shape[1])
        target = likelihood[start : start + height]
        parts += [(image, unit, rank, c, target[:, c : c + width]) for c in range(0, scores.shape[1], width)]
    factors = constant.numpy(), slope.numpy(), group
    in_threads(lambda part: sum_of_logs(scores, a, shift, scale, *factors, *part), parts)
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


def _corrected(likelihood: torch.Tensor, lam: float) -> torch.Tensor:
    """L - lam * (log of the mean over units of exp L), changing ``likelihood`` in place."""
    normaliser = torch.logsumexp(likelihood, dim=0) - math.log(len(likelihood))
    return likelihood.sub_(normaliser, alpha=lam)


def _top(activations: torch.Tensor, top_k: int) -> torch.Tensor:
    if not 1 <= top_k <= len(activations):
        raise ValueError(f"top_k: expected 1 to {len(activations)}, the number of images; got {top_k}")
    return top_images(activations, top_k)


def _check(concept_scores: torch.Tensor, activations: torch.Tensor) -> None:
    """Refuses shapes, types and devices that don't fit together, and concept scores that aren't finite."""
    for name, value in (("concept_scores", concept_scores), ("activations", activations)):
        if value.ndim != 2 or 0 in value.shape or value.dtype != torch.float32:
            raise ValueError(f"{name}: expected a float32 matrix, not empty; got {value.dtype} {tuple(value.shape)}")
    if len(concept_scores) != len(activations):
        expected = f"as many images as concept_scores, {len(concept_scores)}"
        raise ValueError(f"activations: expected {expected}; got {len(activations)}")
    if concept_scores.device != activations.device:
        raise ValueError(f"activations: expected on {concept_scores.device}; got on {activations.device}")
    if concept_scores.shape[1] < 2:
        raise ValueError("concept_scores: needs at least 2 concepts; got 1")
