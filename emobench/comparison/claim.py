"""One claim over many networks: each benchmark's difference, the pooled one, and what may be said of the claim.

Rules of the tier, in TIERS, are part of a study's contract. Benchmarks that share test images share their luck: the
covariance of their differences is measured where their answers are at hand, and else the largest that their gains and
losses allow, which makes the interval too wide rather than too narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from emobench.comparison.members import Member
from emobench.edits.family import LEVEL
from emobench.functional.combining import Pooled, largest_covariance, measured_covariance, pooled
from emobench.functional.paired import holm

TOLD = {"improves", "harms"}
TIERS = {
    "confirmed in all": "every benchmark that the study lists is there and told to improve",
    "confirmed in some": "at least one benchmark is told to improve, but not every one",
    "rejected": "none is told to improve, and the interval of the pooled difference ends below the margin",
    "open": "none is told to improve, and the pooled difference may still reach the margin, or can't be computed",
}
"""A benchmark is told to improve where its own verdict is so and its p-value holds by Holm's method over the study."""


@dataclass(frozen=True)
class Pool:
    """Some benchmarks together; ``found`` is None for fewer than two that change an answer.

    ``bounded`` and ``measured``: pairs on the same images whose covariance is the bound, or was measured.
    """

    scope: str
    members: list[Member]
    found: Pooled | None
    bounded: int = 0
    measured: int = 0


def told(members: Sequence[Member]) -> list[tuple[str, float]]:
    """What may be said of each benchmark in a study, and its p-value by Holm's method over all of them."""
    corrected = holm([float(member.verdict["mcnemar_p"]) for member in members])
    own = [str(member.verdict["verdict"]) for member in members]
    return [(name if name in TOLD and p < LEVEL else "no evidence", p) for name, p in zip(own, corrected, strict=True)]


def tier(said: Sequence[str], listed: int, highest: float | None, margin: float) -> str:
    """The tier of a claim, see TIERS.

    Args:
        said: of each benchmark that is there, improves, harms or no evidence.
        listed: how many benchmarks the study lists.
        highest: upper end of the pooled interval; None where nothing could be pooled.
        margin: the least gain worth having, in the unit of ``highest``.

    >>> tier(["improves", "harms"], 2, 0.1, 0.5), tier(["no evidence"] * 3, 5, 0.4, 0.5)
    ('confirmed in some', 'rejected')
    """
    improving = list(said).count("improves")
    if improving and improving == listed:
        return "confirmed in all"
    if improving:
        return "confirmed in some"
    return "rejected" if highest is not None and highest < margin else "open"


def pool(scope: str, members: Sequence[Member], confidence: float) -> Pool:
    """Random effects over benchmarks; those that change no answer say nothing of how effects vary, and are left out."""
    changing = [member for member in members if sum(member.counts)]
    covariance = np.diag([member.variance for member in changing])
    ways = {"bounded": 0, "measured": 0}
    for (i, one), (j, other) in combinations(enumerate(changing), 2):
        if one.data == other.data and one.images == other.images:
            both = one.outcomes_with(other)
            ways["bounded" if both is None else "measured"] += 1
            shared = measured_covariance(*both) if both else largest_covariance(one.counts, other.counts, one.images)
            covariance[i, j] = covariance[j, i] = shared
    effects = np.array([member.effect for member in changing])
    found = pooled(effects, covariance, confidence=confidence) if len(changing) > 1 else None
    return Pool(scope, changing, found, **ways)


def as_if_independent(members: Sequence[Member], confidence: float) -> tuple[float, float, float] | None:
    """What statsmodels makes of the same benchmarks taken for independent: mean, low, high; None for fewer than two."""
    from statsmodels.stats.meta_analysis import combine_effects

    changing = [member for member in members if sum(member.counts)]
    if len(changing) < 2:
        return None
    effects = np.array([member.effect for member in changing])
    variances = np.array([member.variance for member in changing])
    with np.errstate(invalid="ignore"):  # where its tau^2 is negative, its random effects are no numbers
        result = combine_effects(effects, variances, method_re="dl", use_t=True)
        bounds = result.conf_int(alpha=1 - confidence)
    fixed = result.tau2 <= 0
    mean, (low, high) = (result.mean_effect_fe, bounds[0]) if fixed else (result.mean_effect_re, bounds[1])
    return float(mean), float(low), float(high)


def signs(members: Sequence[Member]) -> dict[str, int]:
    """On how many benchmarks the edit gains more than it loses, loses more, and neither."""
    net = [member.effect for member in members]
    return {"up": sum(value > 0 for value in net), "down": sum(value < 0 for value in net), "even": net.count(0)}


def by_data(members: Sequence[Member]) -> dict[str, list[Member]]:
    """The members of each data set, named by its first benchmark."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(member.data, []).append(member)
    return {group[0].name: group for group in groups.values()}


def pooled_row(one: Pool) -> dict[str, Any]:
    """A pool as a row, in points (hundredths)."""
    row: dict[str, Any] = {"scope": one.scope, "benchmarks": len(one.members)}
    if one.found is not None:
        names = ("mean", "low", "high", "tau", "new_low", "new_high")
        row |= {name if name != "mean" else "points": 100 * getattr(one.found, name) for name in names}
    return row | {"covariances_measured": one.measured, "covariances_bounded": one.bounded}
