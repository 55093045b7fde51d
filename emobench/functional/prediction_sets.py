"""Which concepts may be a unit's best one: sets that hold it with a stated confidence, by bootstrap over images.

The score of a unit and a concept is the correlation of activation and concept score over images; the truly best concept
is the one with the highest correlation over all images there could be. A concept stays in the set unless another one is
better by more than luck explains were both equally good: the largest lead over it that bootstrap draws show, centred at
what was measured.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

DRAWS_AT_ONCE = 16


def correlations(activations: Tensor, concept_scores: Tensor, weights: Tensor | None = None) -> Tensor:
    """Pearson correlation of every unit with every concept.

    Args:
        activations: (images, units).
        concept_scores: (images, concepts).
        weights: (draws, images), how often each image counts; every image once without.

    Returns:
        (units, concepts), with weights (draws, units, concepts); 0 where a unit or a concept is constant.

    Raises:
        ValueError: not the same images.

    >>> correlations(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.0], [3.0], [5.0]]))
    tensor([[1.]])
    """
    if len(activations) != len(concept_scores):
        raise ValueError(f"{len(activations)} images and {len(concept_scores)}; expected the same ones")
    if weights is None:
        return correlations(activations, concept_scores, torch.ones(1, len(activations)))[0]
    count = weights.sum(1)
    # Centred beforehand, else float32 loses the small differences of squares.
    units, concepts = activations - activations.mean(0), concept_scores - concept_scores.mean(0)
    means = (weights @ units / count[:, None], weights @ concepts / count[:, None])
    squares = (weights @ units.square() / count[:, None], weights @ concepts.square() / count[:, None])
    spreads = [(square - mean.square()).clamp_min(0).sqrt() for square, mean in zip(squares, means, strict=True)]
    together = torch.stack([units.T @ (row[:, None] * concepts) for row in weights]) / count[:, None, None]
    shared = together - means[0][:, :, None] * means[1][:, None, :]
    scale = spreads[0][:, :, None] * spreads[1][:, None, :]
    return torch.where(scale > 1e-12, shared / scale.clamp_min(1e-12), 0.0)


def prediction_sets(
    activations: Tensor, concept_scores: Tensor, *, draws: int, confidence: float, generator: torch.Generator
) -> Tensor:
    """The concepts that may be each unit's best one.

    Args:
        activations: (images, units) on the probe images.
        concept_scores: (images, concepts) on the same.
        draws: bootstrap samples of the images.
        confidence: with which the set of a unit holds its truly best concept.
        generator: of the samples.

    Returns:
        (units, concepts) bool; the best one on these images is always in it, and a unit that correlates with nothing
        has them all.

    Raises:
        ValueError: not the same images, or a confidence that is not in (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a number in (0, 1)")
    measured = correlations(activations, concept_scores)
    leads = torch.cat(
        [
            luck.amax(2, keepdim=True) - luck
            for weights in _samples(len(activations), draws, generator)
            for luck in [correlations(activations, concept_scores, weights) - measured]
        ]
    )
    # Not torch.quantile, which takes 16 million numbers at most.
    allowed = leads.kthvalue(math.ceil(confidence * len(leads)), dim=0).values
    return measured.amax(1, keepdim=True) - measured <= allowed


def coverage(sets: Tensor, best: Tensor) -> float:
    """The share of units whose set holds their best concept.

    Args:
        sets: (units, concepts) bool.
        best: (units,) int64.

    >>> coverage(torch.tensor([[True, False], [True, False]]), torch.tensor([0, 1]))
    0.5
    """
    return float(sets.gather(1, best[:, None]).double().mean())


def _samples(images: int, draws: int, generator: torch.Generator) -> Iterator[Tensor]:
    """How often each image is in each bootstrap sample: (some draws, images) at a time."""
    for start in range(0, draws, DRAWS_AT_ONCE):
        picked = torch.randint(images, (min(DRAWS_AT_ONCE, draws - start), images), generator=generator)
        yield torch.zeros(len(picked), images).scatter_add_(1, picked, torch.ones(picked.shape))
