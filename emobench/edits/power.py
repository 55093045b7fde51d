"""How large a gain the tests behind the verdicts could have found, after the run and before it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from emobench.edits.family import LEVEL, PAPER_ARM, SEARCH
from emobench.functional.power import smallest_gain
from emobench.settings.edit import Edit

POWER = 0.8
"""The probability with which a gain is to be found for it to count as detectable."""
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Of answers that an edit may change; what each of them allows to see is told before the run."""


def level(tested: int) -> float:
    """What the p-value of one edit must stay below, by Holm's first step, where so many edits are tested."""
    return LEVEL / tested


def detectable(judged: pd.DataFrame, images: int) -> pd.DataFrame:
    """The smallest net gain that the test of each edit would have found with probability POWER.

    The test alone: the other conditions of *improves* (controls, calibrated NLL) may still speak against it. Holm's
    first step is taken, which is exact while no other edit of the family is significant, and else cautious.

    Args:
        judged: the family on one image set: config_id, gains, losses; an edit that stands there twice is tested once.
        images: how many images there are.

    Returns:
        ``detectable`` in images and ``detectable_points`` in points (hundredths of the images), with the index of
        ``judged``; NaN where an edit changes so few answers that no gain would have been found.
    """
    alpha = level(judged["config_id"].nunique())
    changed = (judged["gains"] + judged["losses"]).astype(int)
    by_count = {count: smallest_gain(count, alpha=alpha, power=POWER) for count in changed.unique()}
    found = changed.map(by_count).astype(float)
    return pd.DataFrame({"detectable": found, "detectable_points": 100 * found / images})


def planned_family(edit: Edit) -> int:
    """How many edits are judged at most: one an arm, one a kind of search, and the published cell."""
    arms = {*edit.arms, *(SEARCH + kind for kind in edit.search.kinds)}
    joint = edit.search.joint_kinds if edit.search.joint else []
    several = edit.search.joint == "all" or len(edit.search.joint) > 1
    arms |= {SEARCH + kind + ("_joint" if several else "") for kind in joint}
    return len(arms) + (PAPER_ARM in edit.arms)


def foresight(images: int, tested: int, shares: Sequence[float] = SHARES) -> pd.DataFrame:
    """What a test set can see: the smallest detectable gain by the share of the answers that an edit changes.

    Args:
        images: of the test set.
        tested: how many edits are judged.
        shares: of the images, whose answers only one of the networks gets right.

    Returns:
        A row for each share that changes any answer: share, changed, detectable and detectable_points (see detectable).
    """
    changed = [round(images * share) for share in shares]
    table = pd.DataFrame({"share": shares, "changed": changed}).query("changed > 0").reset_index(drop=True)
    gains = [smallest_gain(count, alpha=level(tested), power=POWER) for count in table["changed"]]
    table["detectable"] = np.array(gains, dtype=float)
    return table.assign(detectable_points=100 * table["detectable"] / images)
