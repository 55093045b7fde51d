import numpy as np
import pandas as pd
import pytest

from emobench.errors import UserError
from emobench.networks.family import family
from emobench.networks.verdicts import Predictions, summary, verdicts
from emobench.params import Compare, PaperCell

COMPARE, PAPER = Compare(bootstrap_draws=200, confidence=0.95), PaperCell(tau=0.0, factor=1.5)
SETS = ("val", "test", "test_noleaks", "val_test")


def configs(*rows):
    """Rows of (config_id, arm, status, accuracy, nll), the same on every image set; s2 is the cell PAPER."""
    table = pd.DataFrame(
        [("baseline", "baseline", "ok", 0.5, 1.0), *rows], columns=["config_id", "arm", "status", "accuracy", "nll"]
    )
    table = table.assign(tau=0.0, factor=np.where(table.config_id == "s2", 1.5, 2.0), control_of=None)
    return pd.concat([table.assign(images=images) for images in SETS], ignore_index=True)


def predictions(**right):
    """Predictions that are right on that many of 100 images: the first ones."""
    preds = np.array([[0] * count + [1] * (100 - count) for count in right.values()], dtype=np.uint8)
    everywhere = np.arange(100)
    return Predictions(list(right), preds, np.zeros(100, dtype=np.int64), dict.fromkeys(SETS, everywhere))


GRID = configs(
    ("s1", "similarity", "degenerate", 0.9, 0.1),
    ("s2", "similarity", "ok", 0.6, 1.0),
    ("s3", "similarity", "ok", 0.6, 0.9),
    ("w1", "weight_norm", "ok", 0.7, 2.0),
    ("w2", "weight_norm", "ok", 0.7, 2.0),
)


def test_family_is_the_best_on_val_of_each_arm_best_first_and_the_published_cell():
    found = family(GRID, PAPER)
    assert found.config_id.tolist() == ["w1", "s3", "s2"]
    assert found.selected_on.tolist() == ["val", "val", "paper"]
    assert found.arm.tolist() == ["weight_norm", "similarity", "similarity"]


def test_choice_looks_at_val_alone():
    grid = GRID.copy()
    grid.loc[(grid.images != "val") & (grid.config_id == "w2"), "accuracy"] = 1.0
    assert family(grid, PAPER).config_id[0] == "w1"


def test_verdicts():
    table = verdicts(GRID, predictions(baseline=50, w1=80, s3=20, s2=51), COMPARE, PAPER, seed=0)
    test = table[table.images == "test"].set_index("config_id")
    assert test.verdict.to_dict() == {"w1": "not judged (no controls)", "s3": "harms", "s2": "no evidence"}
    assert test.gains.to_dict() == {"w1": 30, "s3": 0, "s2": 1}
    assert test.losses.to_dict() == {"w1": 0, "s3": 30, "s2": 0}
    assert test.holm_p["w1"] == pytest.approx(3 * test.mcnemar_p["w1"])
    assert test.holm_p["s2"] == 1.0
    assert test.delta_accuracy.to_dict() == pytest.approx({"w1": 0.3, "s3": -0.3, "s2": 0.01})
    assert set(table.images) == {"test", "test_noleaks", "val_test"}


def test_one_configuration_that_stands_twice_is_one_hypothesis():
    grid = configs(("s2", "similarity", "ok", 0.6, 1.0))
    table = verdicts(grid, predictions(baseline=50, s2=60), COMPARE, PAPER, seed=0)
    test = table[table.images == "test"]
    assert test.selected_on.tolist() == ["val", "paper"]
    assert test.holm_p.tolist() == test.mcnemar_p.tolist()


def test_without_any_edit_to_judge():
    grid = configs(("w1", "weight_norm", "degenerate", 0.6, 1.0))
    with pytest.raises(UserError, match="every configuration is degenerate"):
        verdicts(grid, predictions(baseline=50, w1=60), COMPARE, PAPER, seed=0)


def test_summary():
    table = verdicts(GRID, predictions(baseline=50, w1=80, s3=20, s2=51), COMPARE, PAPER, seed=0)
    found = summary(GRID, table)
    assert found["baseline"]["test"] == 0.5
    assert found["chosen_edit"]["config_id"] == "w1"
    assert found["chosen_edit"]["delta"]["test"] == pytest.approx(0.2)
    assert found["paper_edit"]["val_test"] == 0.6
