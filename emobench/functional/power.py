"""What the exact McNemar test can find: its power, by enumeration of the binomial.

Of ``changed`` images, which only one of two classifiers gets right, X are gains. With a net gain of g images expected,
X ~ Binomial(changed, (1 + g / changed) / 2); g = 0 is the null hypothesis. A gain is *found* where there are more gains
than losses and the two-sided p-value is below alpha. Images that both get right or both get wrong say nothing.
"""

import numpy as np

from emobench.functional.binomial import upper_tail


def fewest_gains(changed: int, alpha: float) -> int | None:
    """The fewest gains among the changed images with which the exact two-sided p-value is below alpha.

    Args:
        changed: how many images only one of the two classifiers gets right.
        alpha: level of the test. Of a family of m by Holm's method, alpha / m is what its first step asks for.

    Returns:
        None where not even gains alone suffice: 2 / 2**changed >= alpha.

    Raises:
        ValueError: a negative number of images, or a level that is not in (0, 1).

    >>> fewest_gains(16, 0.05), fewest_gains(16, 0.05 / 13), fewest_gains(5, 0.05)
    (13, 15, None)
    """
    _check_share("alpha", alpha)
    if changed < 0:
        raise ValueError(f"changed is {changed}; expected a number of images from 0")
    gains = np.arange(changed // 2 + 1, changed + 1)
    # Twice the upper tail: under the null both answers are equally likely, so that the test's two tails are the same.
    enough = 2 * upper_tail(gains, changed, 0.5) < alpha
    return int(gains[enough.argmax()]) if enough.any() else None


def gain_power(changed: int, gain: float | np.ndarray, *, alpha: float) -> np.ndarray:
    """With which probability the test finds a net gain.

    Args:
        changed: how many images only one of the two classifiers gets right.
        gain: expected net gain in images, from -changed to changed, of any shape.
        alpha: level of the test.

    Returns:
        Probabilities of the shape of ``gain``, which grow with it; without a gain at most alpha / 2.

    Raises:
        ValueError: more gain than changed images, or what fewest_gains refuses.

    >>> gain_power(16, np.array([0, 8, 14, 16]), alpha=0.05).round(3)
    array([0.011, 0.405, 0.985, 1.   ])
    """
    needed, gains = fewest_gains(changed, alpha), np.asarray(gain, dtype=float)
    if (np.abs(gains) > changed).any():
        raise ValueError(f"a gain of {gains} of {changed} changed images; expected at most as many as are changed")
    if needed is None:
        return np.zeros(gains.shape)
    return upper_tail(needed, changed, (1 + gains / changed) / 2)


def smallest_gain(changed: int, *, alpha: float, power: float = 0.8) -> int | None:
    """The smallest whole net gain that the test finds with at least this probability.

    Args:
        changed: how many images only one of the two classifiers gets right.
        alpha: level of the test.
        power: the probability.

    Returns:
        Images; None where so few are changed that no gain is ever found.

    Raises:
        ValueError: a power that is not in (0, 1), or what fewest_gains refuses.

    >>> smallest_gain(16, alpha=0.05 / 13), smallest_gain(60, alpha=0.05 / 13), smallest_gain(5, alpha=0.05)
    (15, 29, None)
    """
    _check_share("power", power)
    enough = gain_power(changed, np.arange(changed + 1), alpha=alpha) >= power
    return int(enough.argmax()) if enough.any() else None


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}; expected a number between 0 and 1")
