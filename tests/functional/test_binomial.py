"""Binomial tails against scipy's distributions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from emobench.functional.binomial import sign_test, upper_tail


@given(st.integers(0, 5000), st.data(), st.floats(0, 1))
def test_the_upper_tail_is_scipys(trials, data, chance) -> None:
    least = data.draw(st.integers(0, trials + 3))
    expected = binom.sf(least - 1, trials, chance)
    np.testing.assert_allclose(upper_tail(least, trials, chance), expected, rtol=1e-9, atol=1e-300)


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_the_sign_test_is_scipys_exact_test(gains, losses) -> None:
    expected = binomtest(gains, gains + losses, 0.5).pvalue if gains + losses else 1.0
    np.testing.assert_allclose(sign_test(gains, losses), expected, rtol=1e-9, atol=1e-300)
    assert sign_test(gains, losses) == sign_test(losses, gains)


def test_many_are_tested_at_once() -> None:
    gains, losses = np.array([5, 0, 9]), np.array([1, 0, 2])
    each = [float(sign_test(*pair)) for pair in zip(gains, losses, strict=True)]
    assert sign_test(gains, losses).tolist() == each
