"""Cross-fitted judging: against a plain loop, its level on planted nulls, and what it sees that test alone doesn't."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from emobench.functional.cross_fitting import chosen_elsewhere, cross_fitted, dealt_folds

IMAGES, CONFIGS, FOLDS = 600, 30, 5


def planted(rng: np.random.Generator, gain: float = 0.0) -> np.ndarray:
    """Changes (configs, images): each config turns one image in 20, half of it in common with the others.

    The last one turns one image in 10 on its own; of these a share of (1 + gain) / 2 is a gain, of the others half.
    """
    turned = (rng.random(IMAGES) < 0.025) | (rng.random((CONFIGS, IMAGES)) < 0.025)
    turned[-1] = rng.random(IMAGES) < 0.1
    turned[:-1] &= ~turned[-1]
    baseline_wrong = rng.random(IMAGES) < np.where(turned[-1], (1 + gain) / 2, 0.5)
    return np.where(turned, np.where(baseline_wrong, 1, -1), 0).astype(np.int8)


def answers(changes: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """Of each image the change by the configuration that gains most on the other folds, as a loop."""
    found = np.zeros(len(fold_of), int)
    for fold in set(fold_of):
        other = fold_of != fold
        best = max(range(len(changes)), key=lambda one: changes[one, other].sum())
        found[~other] = changes[best, ~other]
    return found


def test_it_is_a_loop_over_folds_and_over_all_signs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        changes, fold_of = rng.integers(-1, 2, size=(4, 10)), np.arange(10) % 3
        own = answers(changes, fold_of)
        found = cross_fitted(changes, fold_of, draws=4000, seed=0)
        assert (found.gains, found.losses) == ((own > 0).sum(), (own < 0).sum())
        every = [answers(changes * np.array(signs), fold_of) for signs in itertools.product((1, -1), repeat=10)]
        expected = np.mean([abs(one.sum()) >= abs(own.sum()) for one in every])
        assert found.p_value == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 4000))
        assert found == cross_fitted(changes, fold_of, draws=4000, seed=0)


def test_of_one_configuration_it_is_the_exact_test() -> None:
    changes = np.array([[1] * 14 + [-1] * 4 + [0] * 40])
    found = cross_fitted(changes, np.arange(58) % 4, draws=4000, seed=0)
    assert found[:2] == (14, 4)
    assert found.p_value == pytest.approx(binomtest(14, 18).pvalue, abs=4 * np.sqrt(0.03 * 0.97 / 4000))


def test_no_image_has_a_say_in_its_own_judge() -> None:
    rng = np.random.default_rng(0)
    changes, fold_of = rng.integers(-1, 2, size=(5, 40)), dealt_folds(np.arange(40), 4, seed=0)
    before = chosen_elsewhere(changes, fold_of)
    for fold in range(4):
        other = changes.copy()
        other[:, fold_of == fold] = rng.integers(-1, 2, size=(5, (fold_of == fold).sum()))
        assert chosen_elsewhere(other, fold_of)[fold] == before[fold]


def test_what_belongs_together_is_in_one_fold() -> None:
    groups = np.random.default_rng(0).integers(30, size=200)
    fold_of = dealt_folds(groups, 5, seed=0)
    assert all(len(set(fold_of[groups == group])) == 1 for group in np.unique(groups))
    assert set(fold_of) == set(range(5))
    assert (dealt_folds(groups, 5, seed=0) == fold_of).all()
    assert (dealt_folds(groups, 5, seed=1) != fold_of).any()


def mcnemar_p(changes: np.ndarray) -> float:
    gains, losses = int((changes > 0).sum()), int((changes < 0).sum())
    return float(min(1.0, 2 * binom.cdf(min(gains, losses), gains + losses, 0.5))) if gains + losses else 1.0


def test_false_verdicts_stay_below_the_level() -> None:
    """Of 600 nulls; the exact McNemar test of the same counts is wrong more often, of the best of all far more."""
    rng, cases = np.random.default_rng(0), 600
    fold_of = dealt_folds(np.arange(IMAGES), FOLDS, seed=0)
    false = {"signs": 0, "pooled": 0, "naive": 0}
    for _ in range(cases):
        changes = planted(rng)
        false["signs"] += cross_fitted(changes, fold_of, draws=199, seed=0).p_value <= 0.05
        false["pooled"] += mcnemar_p(answers(changes, fold_of)) < 0.05
        false["naive"] += mcnemar_p(changes[changes.sum(1).argmax()]) < 0.05
    most = binom.ppf(0.999, cases, 0.05)
    assert false["signs"] <= most < false["pooled"] < false["naive"]


def test_a_planted_gain_is_seen_more_often_than_on_test_alone() -> None:
    """Chosen on the first 40 %, judged on the rest, as val and test are; and cross-fitted over both."""
    rng, cases, seen, usual = np.random.default_rng(1), 200, 0, 0
    fold_of, border = dealt_folds(np.arange(IMAGES), FOLDS, seed=0), 4 * IMAGES // 10
    for _ in range(cases):
        changes = planted(rng, gain=0.4)
        seen += cross_fitted(changes, fold_of, draws=199, seed=0).p_value <= 0.05
        usual += mcnemar_p(changes[changes[:, :border].sum(1).argmax(), border:]) < 0.05
    assert seen > usual


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="folds is 4, of 3 groups"):
        dealt_folds(np.array([0, 1, 2, 2]), 4, seed=0)
    with pytest.raises(ValueError, match="at least two folds"):
        chosen_elsewhere(np.ones((2, 3)), np.zeros(3, int))
    with pytest.raises(ValueError, match=r"changes are \(2, 3\), of 2 folds"):
        cross_fitted(np.ones((2, 3)), np.array([0, 1]), draws=9, seed=0)
