"""Tails of the binomial distribution, by the regularised incomplete beta function: P(X >= k) = I_p(k, n - k + 1).

By scipy.special, since scipy.stats takes more than a second to import on a slow core, in every stage that tests.
"""

import numpy as np
from scipy.special import betainc


def upper_tail(least: float | np.ndarray, trials: float | np.ndarray, chance: float | np.ndarray) -> np.ndarray:
    """P(X >= least) for X ~ Binomial(trials, chance), of the shape that the three broadcast to.

    >>> upper_tail(np.array([0, 3, 4]), 3, 0.5)
    array([1.   , 0.125, 0.   ])
    """
    least, trials = np.broadcast_arrays(np.asarray(least), np.asarray(trials))
    inside = np.clip(least, 1, np.maximum(trials, 1))
    tail = betainc(inside, np.maximum(trials, inside) - inside + 1.0, chance)
    return np.where(least <= 0, 1.0, np.where(least > trials, 0.0, tail))


def sign_test(gains: int | np.ndarray, losses: int | np.ndarray) -> np.ndarray:
    """Exact two-sided p-values of as many gains and losses, were both equally likely; 1 where there is neither.

    >>> sign_test(np.array([3, 2, 0]), np.array([0, 2, 0]))
    array([0.25, 1.  , 1.  ])
    """
    # Twice the smaller tail, which is as large as the upper one from the larger number on.
    return np.minimum(1.0, 2 * upper_tail(np.maximum(gains, losses), np.add(gains, losses), 0.5))
