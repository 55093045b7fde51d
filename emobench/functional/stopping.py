"""Random draws that stop as soon as no further draw can change the verdict: sequential Monte Carlo p-values.

An observed value is held against draws of what luck gives; a *hit* is a draw that does as well or better. With n draws
and e hits the p-value is (1 + e) / (1 + n). So many hits that p can no longer fall below the level settle the verdict,
whatever the other draws would have given. Besag and Clifford (1991, Biometrika 78, 301-304) show that the number of
hits h over the number of draws at the h-th hit is then a valid p-value of its own.
"""

from itertools import count

from torch import Tensor


def settling_hits(draws: int, level: float) -> int:
    """The least number of hits after which no p-value of these draws can be below the level.

    It is the smallest e with (1 + e) / (1 + draws) >= level for which the p-value at stopping can't be below it either:
    that is e / draws at the least, where the last hit is the last draw.

    Args:
        draws: how many draws are made if none stop.
        level: of significance, in (0, 1).

    Raises:
        ValueError: no draw, or a level out of range.

    >>> settling_hits(200, 0.05), settling_hits(1000, 0.05), settling_hits(19, 0.05)
    (10, 50, 1)
    """
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"draws is {draws}, level {level}; expected at least 1, and a level between 0 and 1")
    return next(hits for hits in count(1) if (1 + hits) / (1 + draws) >= level and hits / draws >= level)


def stopping_draw(hits: Tensor, settling: int, least: int) -> int | None:
    """After how many draws to stop: when each column has its settling hit, but not before the least number.

    Args:
        hits: (draws, columns) bool in the order of the draws; a column is one set of images, say.
        settling: see settling_hits.
        least: so many draws are made whatever they hit.

    Returns:
        The number of draws, or None if these don't settle it. More draws behind the stop change nothing.

    >>> import torch
    >>> stopping_draw(torch.tensor([[True], [False], [True], [True]]), settling=2, least=1)
    3
    """
    if hits.ndim != 2:
        raise ValueError(f"hits are {tuple(hits.shape)}; expected (draws, columns)")
    settled = (hits.long().cumsum(0) >= settling).all(1)
    settled[: max(0, least - 1)] = False
    return int(settled.long().argmax()) + 1 if settled.any() else None


def sequential_p(hits: Tensor, draws: int, settling: int, *, ruled_out: bool = False) -> float:
    """The p-value of draws that may have been stopped: (1 + e) / (1 + n), or h over the draws at the h-th hit.

    Args:
        hits: (made,) bool in the order of the draws.
        draws: how many were planned; fewer were made where they were stopped.
        settling: see settling_hits.
        ruled_out: something else than these draws settled the verdict, so that they may have stopped anywhere.

    Raises:
        ValueError: fewer draws than planned though nothing was ruled out, and too few hits to have stopped them.

    >>> import torch
    >>> sequential_p(torch.tensor([True, False, False, True, False]), draws=40, settling=2)
    0.5
    >>> sequential_p(torch.tensor([True, False, False]), draws=3, settling=2)
    0.5
    """
    total = int(hits.sum())
    if len(hits) >= draws or (ruled_out and total < settling):
        return (1 + total) / (1 + len(hits))
    if total < settling:
        raise ValueError(f"{len(hits)} of {draws} draws with {total} hits; expected all draws, or {settling} hits")
    return settling / (int((hits.long().cumsum(0) >= settling).long().argmax()) + 1)
