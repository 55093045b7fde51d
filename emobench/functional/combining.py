"""One effect from several benchmarks: random effects, where benchmarks that share test images are not independent.

An effect is the difference in accuracy, edited minus baseline, on the same images: (gains - losses) / images. Effects
(benchmarks,) vary about their mean by tau (what networks truly differ in), and each about its own truth by luck, as
their covariance (benchmarks, benchmarks) says.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Pooled(NamedTuple):
    """The mean effect with its interval; ``tau``: standard deviation of the true effects; shares of the weights.

    ``new_low`` and ``new_high`` bound the true effect of one more benchmark of the kind.
    """

    mean: float
    low: float
    high: float
    tau: float
    new_low: float
    new_high: float
    weights: np.ndarray


def paired_variance(gains: int, losses: int, images: int) -> float:
    """Variance of (gains - losses) / images, the images being drawn independently.

    Args:
        gains: images that only the edited network gets right.
        losses: images that only the baseline gets right.
        images: of the test set.

    Raises:
        ValueError: more changed images than there are.

    >>> round(1e6 * paired_variance(30, 20, 1000), 3)
    49.9
    """
    if min(gains, losses) < 0 or gains + losses > images or images < 1:
        raise ValueError(f"{gains} gains and {losses} losses of {images} images; expected parts of them")
    return (gains + losses - (gains - losses) ** 2 / images) / images**2


def largest_covariance(one: Sequence[int], other: Sequence[int], images: int) -> float:
    """The largest covariance that the effects of two edits on the same images can have, whatever images they changed.

    It is reached where the smaller set of gains lies within the larger one, and the losses likewise.

    Args:
        one: gains and losses of one edit.
        other: of the other.
        images: of the test set, the same for both.

    >>> largest_covariance((30, 20), (30, 20), 1000) == paired_variance(30, 20, 1000)
    True
    """
    together = min(one[0], other[0]) + min(one[1], other[1])
    return (together - (one[0] - one[1]) * (other[0] - other[1]) / images) / images**2


def measured_covariance(one: np.ndarray, other: np.ndarray) -> float:
    """The covariance of two effects from what each edit did to the same images.

    Args:
        one: (images,) 1 gained, -1 lost, 0 as before.
        other: the same of the other edit.

    Raises:
        ValueError: not the same number of images.
    """
    if one.shape != other.shape or one.ndim != 1 or not len(one):
        raise ValueError(f"outcomes of shapes {one.shape} and {other.shape}; expected the same images, at least one")
    return float((one * other).mean() - one.mean() * other.mean()) / len(one)


def pooled(effects: np.ndarray, covariance: np.ndarray, *, confidence: float = 0.95) -> Pooled:
    """Random effects by the method of moments (DerSimonian and Laird), with any covariance of the luck.

    Weights are 1 / (variance + tau^2), so that a diagonal covariance gives what statsmodels' ``combine_effects`` gives.
    tau^2 is what is left of the spread about the weighted mean beyond the luck that the covariance explains, not below
    0. Intervals are Student's with one degree of freedom fewer than benchmarks.

    Args:
        effects: (benchmarks,), at least two.
        covariance: (benchmarks, benchmarks) of their luck, with positive variances.
        confidence: coverage of the intervals.

    Raises:
        ValueError: fewer than two effects, another shape, or a variance that is not positive.

    >>> found = pooled(np.array([0.0, 0.02]), np.diag([1e-4, 1e-4]))
    >>> round(found.mean, 3), round(found.tau, 3), found.weights.tolist()
    (0.01, 0.01, [0.5, 0.5])
    """
    count, variances = len(effects), np.diagonal(covariance)
    if count < 2 or covariance.shape != (count, count) or not (variances > 0).all():
        raise ValueError(f"{count} effects and covariance {covariance.shape}; expected at least two, variances > 0")
    from scipy.stats import t

    fixed = 1 / variances
    spread = np.diag(fixed) - np.outer(fixed, fixed) / fixed.sum()
    left = effects @ spread @ effects - np.trace(spread @ covariance)
    between = max(0.0, left / np.trace(spread))
    weights = 1 / (variances + between)
    weights /= weights.sum()
    mean, error = weights @ effects, weights @ (covariance + between * np.eye(count)) @ weights
    quantile = t.ppf((1 + confidence) / 2, count - 1)
    half, farther = quantile * np.sqrt(error), quantile * np.sqrt(error + between)
    bounds = (mean - half, mean + half), (mean - farther, mean + farther)
    (low, high), (new_low, new_high) = ([float(value) for value in pair] for pair in bounds)
    return Pooled(float(mean), low, high, float(np.sqrt(between)), new_low, new_high, weights)
