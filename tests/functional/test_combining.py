"""Pooling against statsmodels where benchmarks are independent, and against simulation where they share images."""

import numpy as np
import pytest
from statsmodels.stats.meta_analysis import combine_effects

from emobench.functional.combining import largest_covariance, measured_covariance, paired_variance, pooled


def outcomes(rng, images, gains, losses):
    values = np.zeros(images, int)
    values[:gains], values[gains : gains + losses] = 1, -1
    return rng.permutation(values)


def test_independent_benchmarks_are_pooled_as_statsmodels_pools_them() -> None:
    effects, variances = np.array([0.01, -0.02, 0.03, 0.0]), np.array([1e-4, 4e-5, 2e-4, 9e-5])
    ours = pooled(effects, np.diag(variances))
    theirs = combine_effects(effects, variances, method_re="dl", use_t=True)
    assert theirs.tau2 > 0
    assert ours.tau**2 == pytest.approx(theirs.tau2)
    assert ours.mean == pytest.approx(theirs.mean_effect_re)
    assert (ours.low, ours.high) == pytest.approx(theirs.conf_int()[1])
    np.testing.assert_allclose(ours.weights, theirs.weights_rel_re)


def test_without_more_spread_than_luck_the_weights_are_those_of_fixed_effects() -> None:
    effects, variances = np.array([0.001, 0.0, 0.0005]), np.array([1e-4, 4e-4, 2e-4])
    ours = pooled(effects, np.diag(variances))
    with np.errstate(invalid="ignore"):  # it takes the root of its negative tau^2
        theirs = combine_effects(effects, variances, method_re="dl", use_t=True)
        fixed = theirs.conf_int()[0]
    assert (ours.tau, theirs.tau2 < 0) == (0, True)
    assert (ours.low, ours.high) == pytest.approx(fixed)
    assert (ours.new_low, ours.new_high) == (ours.low, ours.high)


def test_the_same_benchmark_twice_says_no_more_than_once() -> None:
    variance = paired_variance(30, 20, 1000)
    alike = pooled(np.array([0.01, 0.01]), np.full((2, 2), variance))
    apart = pooled(np.array([0.01, 0.01]), np.diag([variance, variance]))
    assert alike.high - alike.mean == pytest.approx(np.sqrt(2) * (apart.high - apart.mean))


def test_the_bound_on_the_covariance_holds_and_is_reached() -> None:
    rng, images = np.random.default_rng(0), 400
    bound = largest_covariance((30, 20), (50, 10), images)
    nested = np.zeros((2, images))
    nested[0, :30], nested[0, 50:70], nested[1, :50], nested[1, 50:60] = 1, -1, 1, -1
    assert measured_covariance(*nested) == pytest.approx(bound)
    drawn = [measured_covariance(outcomes(rng, images, 30, 20), outcomes(rng, images, 50, 10)) for _ in range(200)]
    assert max(drawn) < bound


def test_variance_and_covariance_are_those_of_drawn_images() -> None:
    rng = np.random.default_rng(1)
    one = outcomes(rng, 300, 40, 25)
    other = np.where(rng.random(300) < 0.5, one, outcomes(rng, 300, 10, 30))
    drawn = rng.integers(300, size=(20000, 300))
    seen = np.cov(one[drawn].mean(1), other[drawn].mean(1))
    assert paired_variance(40, 25, 300) == pytest.approx(seen[0, 0], rel=0.05)
    assert measured_covariance(one, other) == pytest.approx(seen[0, 1], rel=0.05)
    assert measured_covariance(one, one) == pytest.approx(paired_variance(40, 25, 300))


def test_what_can_not_be_pooled() -> None:
    with pytest.raises(ValueError, match="1 effects"):
        pooled(np.zeros(1), np.eye(1))
    with pytest.raises(ValueError, match="variances > 0"):
        pooled(np.zeros(2), np.diag([1.0, 0.0]))
    with pytest.raises(ValueError, match="30 gains and 80 losses of 100"):
        paired_variance(30, 80, 100)
    with pytest.raises(ValueError, match="the same images"):
        measured_covariance(np.zeros(3), np.zeros(4))
