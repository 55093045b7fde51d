"""Choosing and judging on the same images without judging by what was chosen on: protocol ``cross_fitted``.

The images are dealt out to folds; for each fold the configuration is taken that is best on all the others, and answers
for the images of this fold alone. So every image is judged once, by a choice that never saw it, and all of them make
one test: more images than test alone has, at the price that not one configuration is judged but a way of choosing one.

The folds' counts are not independent: what is luck in one fold has a say in the others' choices. So gains and losses
over all folds are no binomial, and the exact McNemar test of them breaks its level: at .05 it was false in 51 of 600
planted nulls (tests/functional/test_cross_fitting.py), the test here in 26. It draws signs instead: if no configuration
differs from the baseline, then on an image where some do, they are as likely all right as all wrong. The signs of all
images are drawn anew, and choice and count made again under each drawing.
"""

from typing import NamedTuple

import numpy as np

AT_ONCE = 100
"""Drawings of signs that are held together."""


class CrossFitted(NamedTuple):
    """Images that only the chosen configurations get right, that only the baseline does, and the two-sided p-value."""

    gains: int
    losses: int
    p_value: float


def dealt_folds(groups: np.ndarray, folds: int, *, seed: int) -> np.ndarray:
    """Deals images out to folds of about equal size.

    Args:
        groups: (images,) the same number for images that have to stay together: copies, and pictures of one subject.
        folds: how many, from 2.
        seed: of the order.

    Returns:
        The fold of each image (images,) int64, from 0.

    Raises:
        ValueError: fewer groups than folds, or fewer than two folds.

    >>> folds = dealt_folds(np.array([0, 0, 1, 2, 3]), 2, seed=0)
    >>> bool(folds[0] == folds[1]), sorted(set(folds.tolist()))
    (True, [0, 1])
    """
    parts = len(np.unique(groups))
    if not 2 <= folds <= parts:
        raise ValueError(f"folds is {folds}, of {parts} groups of images; expected at least 2, and no more than groups")
    from sklearn.model_selection import GroupKFold

    fold_of = np.empty(len(groups), np.int64)
    dealt = GroupKFold(folds, shuffle=True, random_state=seed).split(groups, groups=groups)
    for fold, (_, rows) in enumerate(dealt):
        fold_of[rows] = fold
    return fold_of


def chosen_elsewhere(changes: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """For each fold the configuration that gains most on the images of all other folds; among equal ones the first.

    Args:
        changes: (configs, images) int8: 1 where only the configuration is right, -1 where only the baseline is, else 0.
        fold_of: (images,) from 0, every fold with images.

    Returns:
        (folds,) int64 places among the configurations.

    Raises:
        ValueError: shapes that don't fit, no configuration, or fewer than two folds.

    >>> chosen_elsewhere(np.array([[1, 1, 0, 0], [0, 0, 1, 1]]), np.array([0, 0, 1, 1]))
    array([1, 0])
    """
    return _chosen(_fold_sums(changes, fold_of, np.ones((1, changes.shape[-1]))))[0]


def cross_fitted(changes: np.ndarray, fold_of: np.ndarray, *, draws: int, seed: int) -> CrossFitted:
    """Judges the choice among some configurations: gains, losses and the p-value of their difference.

    Args:
        changes: see chosen_elsewhere.
        fold_of: see there.
        draws: of signs. The smallest possible p-value is 1 / (1 + draws).
        seed: of the draws.

    >>> changes = np.array([[1, 1, 1, 1, 1, 1, 1, 1, -1, 0]])
    >>> cross_fitted(changes, np.arange(10) % 2, draws=999, seed=0)[:2]
    (8, 1)
    """
    chosen = chosen_elsewhere(changes, fold_of)
    answers = changes[chosen[fold_of], np.arange(len(fold_of))]
    rng, net, hits = np.random.default_rng(seed), abs(int(answers.sum())), 0
    for first in range(0, draws, AT_ONCE):
        signs = 1.0 - 2.0 * rng.integers(2, size=(min(AT_ONCE, draws - first), len(fold_of)))
        sums = _fold_sums(changes, fold_of, signs)
        picked = np.take_along_axis(sums, _chosen(sums)[:, None], axis=1)
        # Whole numbers: a tie is one.
        hits += int((np.abs(np.rint(picked.sum((1, 2)))) >= net).sum())
    return CrossFitted(int((answers > 0).sum()), int((answers < 0).sum()), (1 + hits) / (1 + draws))


def _fold_sums(changes: np.ndarray, fold_of: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Each configuration's net gain in each fold, under each drawing of signs: (draws, configs, folds)."""
    count = int(fold_of.max(initial=-1)) + 1
    if changes.ndim != 2 or not len(changes) or fold_of.shape != changes.shape[1:] or count < 2:
        raise ValueError(
            f"changes are {changes.shape}, of {count} folds; expected (configs, images), and at least two folds"
        )
    values = changes.astype(np.float32)
    parts = [values[:, fold_of == fold] @ signs[:, fold_of == fold].astype(np.float32).T for fold in range(count)]
    return np.stack(parts, axis=-1).transpose(1, 0, 2)


def _chosen(sums: np.ndarray) -> np.ndarray:
    """The first of the best configurations elsewhere, for each draw and fold: (draws, folds)."""
    return np.rint(sums.sum(-1, keepdims=True) - sums).argmax(1)
