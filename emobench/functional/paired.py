"""Is one classifier better than another on the same images? Exact tests and bootstrap intervals of differences.

Differences are edited minus baseline; p-values are two-sided.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from emobench.functional.binomial import sign_test
from emobench.functional.classification import ECE_BINS, class_recalls, confusion_metrics
from emobench.functional.power import smallest_gain

COUNTS_AT_ONCE = 2**22
"""How many counts (draws x images) are held at once."""


class McNemar(NamedTuple):
    """Images that only the edited network gets right, images that only the baseline gets right, and the p-value."""

    gains: int
    losses: int
    p_value: float


class Interval(NamedTuple):
    """A difference as measured and the ends of its bootstrap percentile interval."""

    delta: float
    low: float
    high: float


def mcnemar(baseline_correct: Tensor | np.ndarray, edited_correct: Tensor | np.ndarray) -> McNemar:
    """Exact two-sided McNemar test (binomial on the images that only one of the two gets right).

    Args:
        baseline_correct: (images,) bool.
        edited_correct: (images,) bool, the same images.

    Raises:
        ValueError: not bool, or another number of images.

    >>> mcnemar(torch.tensor([False, False, False, True]), torch.tensor([True, True, True, True]))
    McNemar(gains=3, losses=0, p_value=0.25)
    """
    before, after = np.asarray(baseline_correct), np.asarray(edited_correct)
    if before.shape != after.shape or before.ndim != 1 or before.dtype != bool or after.dtype != bool:
        raise ValueError(
            f"correct answers: {before.dtype} {before.shape} and {after.dtype} {after.shape}; expected bool (n,) twice"
        )
    gains, losses = int((after & ~before).sum()), int((before & ~after).sum())
    return McNemar(gains, losses, float(sign_test(gains, losses)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values of one family, same order.

    Raises:
        ValueError: a value that is no probability.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values are {list(p_values)}; expected numbers from 0 to 1")
    # Not by statsmodels' multipletests: each call of it collects garbage, which takes .2 s where torch is imported.
    order = np.argsort(values, kind="stable")
    adjusted = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return np.minimum(adjusted, 1)[np.argsort(order, kind="stable")].tolist()


def detectable_difference(images: int, discordant_share: float, *, alpha: float, power: float = 0.8) -> int | None:
    """The smallest whole net gain, in images, that the exact McNemar test finds with this probability.

    Args:
        images: how many both classifiers answer.
        discordant_share: share of them that only one of the two gets right, rounded to whole images.
        alpha: level of the test.
        power: the probability.

    Returns:
        None where so few images are discordant that no gain is ever found (see emobench.functional.power).

    Raises:
        ValueError: a negative number of images, or a share, level or power out of range.

    >>> detectable_difference(1800, 0.02, alpha=0.05), detectable_difference(1800, 0.001, alpha=0.05)
    (18, None)
    """
    if images < 0 or not 0 <= discordant_share <= 1:
        raise ValueError(f"images is {images}, discordant_share {discordant_share}; expected n >= 0 and a share")
    return smallest_gain(round(images * discordant_share), alpha=alpha, power=power)


def paired_bootstrap(
    target: Tensor,
    baseline_preds: Tensor,
    edited_preds: Tensor,
    *,
    draws: int,
    confidence: float,
    seed: int,
    class_names: Sequence[str],
) -> dict[str, Interval]:
    """Intervals of the differences in accuracy, balanced accuracy, macro F1 and each class's recall.

    All of these depend on the images only through the table target x baseline x edited, so drawing images with
    replacement is drawing that table from a multinomial.

    Args:
        target: (images,) integers, the labels.
        baseline_preds: (images,) integers.
        edited_preds: (images,) integers.
        draws: how many tables are drawn.
        confidence: coverage of the interval, e.g. 0.95.
        seed: of the draws.
        class_names: (classes,) for the keys ``recall_<class>``.

    Returns:
        name -> Interval; NaN for the recall of a class that no image has.

    Raises:
        ValueError: another number of images, or a class out of range.

    >>> same = torch.tensor([0, 1, 1])
    >>> paired_bootstrap(same, same, same, draws=100, confidence=0.95, seed=0, class_names="ab")["accuracy"]
    Interval(delta=0.0, low=0.0, high=0.0)
    """
    classes = len(class_names)
    cells = _cells(target, baseline_preds, edited_preds, classes)
    kinds, counts = np.unique(cells, return_counts=True)
    tables = np.random.default_rng(seed).multinomial(len(cells), counts / len(cells), size=draws)
    true, before, after = np.unravel_index(kinds, (classes,) * 3)
    measured = torch.from_numpy(np.concatenate([counts[None], tables])).double()
    metrics = []
    for preds in (before, after):
        cell_of = torch.zeros(len(kinds), classes**2, dtype=torch.float64)
        cell_of[torch.arange(len(kinds)), torch.from_numpy(true * classes + preds)] = 1
        table = (measured @ cell_of).reshape(-1, classes, classes)
        recalls = class_recalls(table)
        metrics.append(
            confusion_metrics(table) | {f"recall_{name}": recalls[:, index] for index, name in enumerate(class_names)}
        )
    return {name: _interval((metrics[1][name] - metrics[0][name]).numpy(), confidence) for name in metrics[0]}


def paired_probabilities(
    target: Tensor, baseline_logits: Tensor, edited_logits: Tensor, *, draws: int, confidence: float, seed: int
) -> list[dict[str, Interval]]:
    """Intervals of the differences in NLL, Brier score and calibration error, images drawn with replacement.

    Args:
        target: (images,) integers, the labels.
        baseline_logits: (images, classes).
        edited_logits: (configs, images, classes): several networks against the same baseline and on the same draws.
        draws: how many samples are drawn.
        confidence: coverage of the interval, e.g. 0.95.
        seed: of the draws.

    Returns:
        For each configuration ``nll``, ``brier`` and ``ece``, each an Interval.

    Raises:
        ValueError: shapes that don't fit, no image, a label out of range, or NaN among the logits.

    >>> logits = torch.eye(2)
    >>> paired_probabilities(torch.tensor([0, 1]), logits, logits[None], draws=9, confidence=0.9, seed=0)[0]["nll"]
    Interval(delta=0.0, low=0.0, high=0.0)
    """
    parts = _probability_parts(torch.cat([baseline_logits[None], edited_logits]), target)
    configs, images, width = parts.shape
    columns = parts.transpose(0, 1).reshape(images, -1)
    rng, means = np.random.default_rng(seed), [columns.mean(0, keepdim=True)]
    at_once = max(1, COUNTS_AT_ONCE // images)
    for first in range(0, draws, at_once):
        some = min(at_once, draws - first)
        picks = rng.integers(images, size=(some, images)) + images * np.arange(some)[:, None]
        counts = np.bincount(picks.ravel(), minlength=some * images).reshape(some, images)
        means.append(torch.from_numpy(counts / images) @ columns)
    values = _from_means(torch.cat(means).reshape(-1, configs, width))
    return [
        {name: _interval((value[:, config] - value[:, 0]).numpy(), confidence) for name, value in values.items()}
        for config in range(1, configs)
    ]


def _probability_parts(logits: Tensor, target: Tensor) -> Tensor:
    """What each image adds to NLL, Brier score and the bins of the calibration error: (configs, images, 2 + bins)."""
    if logits.ndim != 3 or target.shape != logits.shape[1:2] or not len(target) or logits.isnan().any():
        raise ValueError(
            f"logits {tuple(logits.shape)}, target {tuple(target.shape)}; "
            "expected (configs, n, classes) without NaN, (n,), n > 0"
        )
    own = target.long().expand(logits.shape[:2]).unsqueeze(-1)
    log_probabilities = logits.double().log_softmax(-1)
    probabilities, loss = log_probabilities.exp(), -log_probabilities.gather(-1, own)
    brier = probabilities.square().sum(-1, keepdim=True) - 2 * probabilities.gather(-1, own) + 1
    confidence, preds = probabilities.max(-1, keepdim=True)
    bins = (confidence * ECE_BINS).long().clamp(max=ECE_BINS - 1)
    gaps = loss.new_zeros(*logits.shape[:2], ECE_BINS).scatter_(-1, bins, (preds == own).double() - confidence)
    return torch.cat([loss, brier, gaps], dim=-1)


def _from_means(means: Tensor) -> dict[str, Tensor]:
    """NLL, Brier score and calibration error (...) from the means over images of their parts (..., 2 + bins)."""
    return {"nll": means[..., 0], "brier": means[..., 1], "ece": means[..., 2:].abs().sum(-1)}


def _cells(target: Tensor, baseline_preds: Tensor, edited_preds: Tensor, classes: int) -> np.ndarray:
    """Each image's cell in the table (classes, classes, classes), flattened."""
    columns = [np.asarray(values) for values in (target, baseline_preds, edited_preds)]
    if any(values.shape != columns[0].shape for values in columns) or columns[0].ndim != 1 or not len(columns[0]):
        raise ValueError(
            f"target and predictions are {[values.shape for values in columns]}; expected (n,) each, n > 0"
        )
    if any(values.min() < 0 or values.max() >= classes for values in columns):
        raise ValueError(f"a target or prediction is out of range; expected 0 to {classes - 1}")
    return np.ravel_multi_index([values.astype(np.int64) for values in columns], (classes,) * 3)


def _interval(differences: np.ndarray, confidence: float) -> Interval:
    """The first difference is the measured one. Draws without any image of a class say nothing about its recall."""
    drawn = differences[1:][~np.isnan(differences[1:])]
    if np.isnan(differences[0]) or not len(drawn):
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(differences[0]), float(low), float(high))
