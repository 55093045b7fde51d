import dataclasses

import edit_bench
import pandas as pd
import pytest

from emobench.edits.power import detectable, foresight, level, planned_family
from emobench.functional.power import gain_power, smallest_gain

EDIT = edit_bench.small_params().edit


def test_what_each_edit_would_have_had_to_gain() -> None:
    """One that stands there twice is one hypothesis; one that changes too little has no detectable gain."""
    judged = pd.DataFrame({"config_id": ["a", "b", "c", "a"], "gains": [10, 2, 100, 10], "losses": [6, 1, 20, 6]})
    judged.index = [7, 8, 9, 10]
    found = detectable(judged, 400)
    gains = [
        smallest_gain(16, alpha=0.05 / 3),
        None,
        smallest_gain(120, alpha=0.05 / 3),
        smallest_gain(16, alpha=0.05 / 3),
    ]
    assert found["detectable"].tolist() == pytest.approx(pd.Series(gains, dtype=float).tolist(), nan_ok=True)
    assert found["detectable_points"].tolist() == pytest.approx((found["detectable"] / 4).tolist(), nan_ok=True)
    assert found.index.tolist() == [7, 8, 9, 10]
    for changed, gain in ((16, gains[0]), (120, gains[2])):
        assert gain_power(changed, gain - 1, alpha=level(3)) < 0.8 <= gain_power(changed, gain, alpha=level(3))


def test_before_the_run() -> None:
    table = foresight(1800, 13)
    assert table["changed"].tolist() == [9, 18, 36, 90, 180]
    for row in table.itertuples():
        gain = smallest_gain(row.changed, alpha=0.05 / 13)
        assert row.detectable == pytest.approx(float("nan") if gain is None else gain, nan_ok=True)
        assert row.detectable_points == pytest.approx(row.detectable / 18, nan_ok=True)
    assert foresight(10, 1)["changed"].tolist() == [1]  # 0.1 and 0.5 images round to none, 5 % of 10 too


def test_as_many_are_judged_as_are_planned() -> None:
    """The demo's family: eight arms, three searches, a joint one and the published cell."""
    search = dataclasses.replace(
        EDIT.search,
        kinds=["free", "descriptions", "interpretable"],
        joint=["lin1", "lin2"],
        joint_kinds=["descriptions"],
    )
    arms = ["similarity", "weight_norm", "proportional", "fdr", "accuracy", "faithfulness", "description", "effect"]
    edit = dataclasses.replace(EDIT, arms=arms, search=search)
    assert planned_family(edit) == 13
    assert planned_family(dataclasses.replace(edit, arms=["effect"])) == 5
    alone = dataclasses.replace(search, joint=["lin2"])
    assert planned_family(dataclasses.replace(edit, search=alone)) == 12  # the same edit, asked for twice
    assert planned_family(dataclasses.replace(edit, search=dataclasses.replace(search, joint=[]))) == 12
