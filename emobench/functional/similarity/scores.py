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

import torch

from emobench.functional.similarity.cosines import cubed_cosines, scaled_norms
from emobench.functional.similarity.likelihood import soft_wpmi_log_likelihood, wpmi_log_likelihood
from emobench.functional.similarity.reordering import random_errors, reorder_scores
from emobench.functional.similarity.topk import require_finite, top_images

__all__ = [
    "cos_similarity",
    "cos_similarity_cubed",
    "normaliser",
    "rank_reorder",
    "reorder_count",
    "soft_wpmi",
    "soft_wpmi_log_likelihood",
    "top_images",
    "wpmi",
    "wpmi_log_likelihood",
]

MIN_NORM = 1e-3
"""Of cubed vectors, as the seed paper's code has it: keeps nearly constant units near 0."""


def cos_similarity(concept_scores: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """Cosine of a unit's activations and a concept's scores as vectors over images, neither centred.

    Args:
        concept_scores: (images, concepts).
        activations: (images, units).

    Returns:
        Similarity (units, concepts) in [-1, 1]; 0 where a vector is all zeros.

    Raises:
        ValueError: an argument of wrong shape, type or device, or NaN or infinity in it.
    """
    _check(concept_scores, activations)
    concept_scores, score_norms = scaled_norms("concept_scores", concept_scores)
    activations, norms = scaled_norms("activations", activations)
    return activations.T.mm(concept_scores).div_(score_norms).div_(norms[:, None])


def cos_similarity_cubed(concept_scores: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """Cosine of the centred vectors' cubes (CLIP-Dissect, cos similarity cubed): the extremes decide.

    Arguments and errors as in ``cos_similarity``. A cubed vector's norm counts as at least 1e-3, so that a constant
    one gives 0; the result depends on the inputs' scale where that happens.
    """
    _check(concept_scores, activations)
    return cubed_cosines(concept_scores, activations, MIN_NORM)


def rank_reorder(
    concept_scores: torch.Tensor,
    activations: torch.Tensor,
    *,
    p: int = 3,
    top_fraction: float = 0.05,
    scale_p: float = 0.5,
    generator: torch.Generator,
) -> torch.Tensor:
    """How little a concept's order of a unit's top images changes its activations (CLIP-Dissect, Rank reorder).

    The top activations are reordered by the concept's scores, which equal scores enter by image index. The mean
    |difference|^p is divided by the same for five random orders and by (mean score of those images)^scale_p, and
    negated. Where a unit's top activations are all equal every order is as good as a random one: that ratio is 1.

    Args:
        concept_scores: (images, concepts).
        activations: (images, units).
        p: power of the differences, a whole number of at least 1.
        top_fraction: share of the images that count, rounded down to whole images.
        scale_p: power of the mean concept score.
        generator: of the random orders: five torch.randperm a unit, unit after unit.

    Returns:
        Similarity (units, concepts), at most 0; -inf where the mean score isn't positive (its power is undefined).

    Raises:
        ValueError: an argument of wrong shape, type, device or range, or NaN or infinity in it.
    """
    _check(concept_scores, activations)
    require_finite("concept_scores", concept_scores)
    count = reorder_count(len(activations), top_fraction)
    if p != int(p) or p < 1:
        raise ValueError(f"p: expected a whole number of at least 1; got {p}")
    top = top_images(activations, count)
    values = activations.gather(0, top)
    return reorder_scores(concept_scores, top, values, random_errors(values, int(p), generator), int(p), scale_p)


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
    return likelihood.sub_(normaliser(likelihood, lam))


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
    likelihood = wpmi_log_likelihood(concept_scores, _top(activations, top_k), a=a, min_prob=min_prob)
    return likelihood.sub_(normaliser(likelihood, lam))


def normaliser(likelihood: torch.Tensor, lam: float) -> torch.Tensor:
    """What wpmi and soft_wpmi subtract from L (units, concepts): lam * log of the mean over units of exp L.

    >>> normaliser(torch.tensor([[0.0, -1.0], [0.0, -1.0]]), 0.5)
    tensor([ 0.0000, -0.5000])
    """
    return lam * (torch.logsumexp(likelihood, dim=0) - math.log(len(likelihood)))


def reorder_count(images: int, top_fraction: float) -> int:
    """How many top images rank_reorder looks at.

    Raises:
        ValueError: the share is less than one image, or more than all.

    >>> reorder_count(150, 0.05)
    7
    """
    count = int(images * top_fraction)
    if not 1 <= count <= images:
        raise ValueError(
            f"top_fraction: expected a share of {images} images that is 1 image to all; got {top_fraction}"
        )
    return count


def _top(activations: torch.Tensor, top_k: int) -> torch.Tensor:
    if not 1 <= top_k <= len(activations):
        raise ValueError(f"top_k: expected 1 to {len(activations)}, the number of images; got {top_k}")
    return top_images(activations, top_k)


def _check(concept_scores: torch.Tensor, activations: torch.Tensor) -> None:
    """Refuses shapes, types and devices that don't fit together."""
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
