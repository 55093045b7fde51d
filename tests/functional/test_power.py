"""Power of the exact McNemar test, against counting in whole numbers and against simulated answers."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest

from emobench.functional.paired import detectable_difference, mcnemar
from emobench.functional.power import fewest_gains, gain_power, smallest_gain


def found(gains: int, changed: int, alpha: Fraction) -> bool:
    """Whether the test finds a gain: twice the upper tail in whole numbers."""
    tail = sum(comb(changed, one) for one in range(gains, changed + 1))
    return 2 * gains > changed and Fraction(2 * tail, 2**changed) < alpha


@pytest.mark.parametrize("alpha", [Fraction(1, 20), Fraction(1, 260), Fraction(1, 2)])
@pytest.mark.parametrize("changed", range(0, 31, 3))
def test_power_is_that_of_counting(changed: int, alpha: Fraction) -> None:
    wins = [one for one in range(changed + 1) if found(one, changed, alpha)]
    assert fewest_gains(changed, float(alpha)) == (wins[0] if wins else None)
    for gain in range(-changed, changed + 1):
        share = Fraction(changed + gain, 2 * changed) if changed else Fraction(1, 2)
        expected = sum(comb(changed, one) * share**one * (1 - share) ** (changed - one) for one in wins)
        assert float(gain_power(changed, gain, alpha=float(alpha))) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize(("changed", "gain", "alpha"), [(16, 14, 0.05), (40, 15, 0.05 / 13), (85, 21, 0.05)])
def test_power_is_that_of_simulated_answers(changed: int, gain: int, alpha: float) -> None:
    """The test itself on drawn answers: 4,000 times, within four standard errors."""
    rng, draws, images = np.random.default_rng(changed), 4000, 200
    hits = 0
    for _ in range(draws):
        before = np.arange(images) < 100
        after, moved = before.copy(), rng.random(changed) < (1 + gain / changed) / 2
        after[100 : 100 + moved.sum()] = True
        after[: (~moved).sum()] = False
        result = mcnemar(before, after)
        hits += result.p_value < alpha and result.gains > result.losses
    power = float(gain_power(changed, gain, alpha=alpha))
    assert hits / draws == pytest.approx(power, abs=4 * np.sqrt(power * (1 - power) / draws) + 1e-3)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 13])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_smallest_gain_is_the_first_that_is_found_often_enough(alpha: float, power: float) -> None:
    for changed in (3, 9, 16, 57, 300):
        gain = smallest_gain(changed, alpha=alpha, power=power)
        powers = gain_power(changed, np.arange(changed + 1), alpha=alpha)
        assert (np.diff(powers) >= -1e-12).all()
        if gain is None:
            assert powers.max() == 0
            assert binomtest(changed, changed, 0.5).pvalue >= alpha
        else:
            assert powers[gain - 1] < power <= powers[gain]


def test_it_follows_what_makes_a_test_stronger() -> None:
    """More gain is needed with more changed answers, a stricter level, more power; without gain alpha / 2 is kept."""
    assert smallest_gain(100, alpha=0.05) < smallest_gain(200, alpha=0.05) < 2 * smallest_gain(100, alpha=0.05)
    assert smallest_gain(100, alpha=0.05) < smallest_gain(100, alpha=0.05 / 13)
    assert smallest_gain(100, alpha=0.05, power=0.6) < smallest_gain(100, alpha=0.05, power=0.9)
    for changed in range(1, 80):
        assert gain_power(changed, 0, alpha=0.05) <= 0.025
    # With many changed answers it is the textbook's (z + z) * sqrt(changed).
    assert smallest_gain(4000, alpha=0.05) == pytest.approx((1.959964 + 0.841621) * np.sqrt(4000), rel=0.03)


def test_the_demo_could_not_have_found_its_best_edit() -> None:
    """16 changed answers among 13 judged edits: 15 of them must be gains."""
    assert fewest_gains(16, 0.05 / 13) == 15
    assert smallest_gain(16, alpha=0.05 / 13) == 15


def test_by_share_of_the_images() -> None:
    assert detectable_difference(1800, 57 / 1800, alpha=0.05) == smallest_gain(57, alpha=0.05)
    assert detectable_difference(0, 0.5, alpha=0.05) is None


def test_what_is_no_share_or_number_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha is 1.0; expected a number between 0 and 1"):
        fewest_gains(3, 1.0)
    with pytest.raises(ValueError, match="changed is -1"):
        fewest_gains(-1, 0.05)
    with pytest.raises(ValueError, match="power is 0"):
        smallest_gain(3, alpha=0.05, power=0)
    with pytest.raises(ValueError, match="a gain of 4.0 of 3 changed images"):
        gain_power(3, 4, alpha=0.05)
    with pytest.raises(ValueError, match="discordant_share 1.2"):
        detectable_difference(10, 1.2, alpha=0.05)
