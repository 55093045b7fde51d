"""What two confusion matrices on the same images say about a pair of classifiers whose single answers are not known.

Rows of a matrix are true classes, counts are integers.
"""

from typing import NamedTuple

from torch import Tensor

from emobench.functional.binomial import sign_test


class FewestDiscordant(NamedTuple):
    """The fewest images that only the second classifier gets right, and only the first, and the p-value they give."""

    gains: int
    losses: int
    p_value: float


def smallest_mcnemar(before: Tensor, after: Tensor) -> FewestDiscordant:
    """The smallest exact two-sided McNemar p-value that any pairing of two confusion matrices allows.

    For each true class the matrices fix how many images are right before (b) and after (a), hence gains - losses =
    a - b; both can be larger by the same number of images that swap. The fewest discordant images are |a - b| of each
    class, all on one side. Such a pairing exists: min(a, b) images of the class are right both times.

    No other pairing gives less. With k = min(gains, losses) of n discordant images, k < n - k, the p-value is
    2 P(X <= k) for X ~ Binomial(n, 1/2). One more image that swaps each way makes it 2 P(X' <= k + 1) for
    X' ~ Binomial(n + 2, 1/2), which is greater by (P(X = k + 1) - P(X = k)) / 2 >= 0, because k + 1 <= n - k. With as
    many gains as losses it is 1 anyway.

    Args:
        before: (classes, classes), the first classifier's.
        after: (classes, classes), the second's on the same images.

    Raises:
        ValueError: matrices of another shape, negative or broken counts, or of other images: a class's total differs.

    >>> import torch
    >>> smallest_mcnemar(torch.tensor([[3, 5], [2, 6]]), torch.tensor([[8, 0], [3, 5]]))
    FewestDiscordant(gains=5, losses=1, p_value=0.21875)
    """
    if before.shape != after.shape or before.ndim != 2 or before.shape[0] != before.shape[1]:
        raise ValueError(
            f"confusion matrices are {tuple(before.shape)} and {tuple(after.shape)}; expected the same (classes, "
            "classes)"
        )
    for table in (before, after):
        if table.is_floating_point() or (table < 0).any():
            raise ValueError("confusion matrices hold negative or broken counts; expected integers from 0")
    if (before.sum(1) != after.sum(1)).any():
        raise ValueError(
            f"the matrices are of other images: {before.sum(1).tolist()} and {after.sum(1).tolist()} of each class"
        )
    change = after.diagonal() - before.diagonal()
    gains, losses = int(change.clamp(min=0).sum()), int(-change.clamp(max=0).sum())
    return FewestDiscordant(gains, losses, float(sign_test(gains, losses)))
