import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emobench.edits.family import best_index, best_on_val, corrected_tests, family, may_improve
from emobench.errors import UserError
from emobench.functional.paired import mcnemar
from emobench.settings.edit import PaperCell

PAPER = PaperCell(tau=0.0, factor=1.5)


def configs(*rows):
    """Rows of (config_id, arm, status, accuracy, nll, control_of), the same on val and test; s2 is the cell PAPER."""
    columns = ["config_id", "arm", "status", "accuracy", "nll", "control_of"]
    table = pd.DataFrame([("baseline", "baseline", "ok", 0.99, 0.0, None), *rows], columns=columns)
    table = table.assign(tau=0.0, factor=np.where(table.config_id == "s2", 1.5, 2.0))
    return pd.concat([table.assign(images=images) for images in ("val", "test")], ignore_index=True)


GRID = configs(
    ("s1", "similarity", "degenerate", 0.9, 0.1, None),
    ("s2", "similarity", "ok", 0.6, 1.0, None),
    ("s3", "similarity", "ok", 0.6, 0.9, None),
    ("w1", "weight_norm", "ok", 0.7, 2.0, None),
    ("w2", "weight_norm", "ok", 0.7, 2.0, None),
    ("s3-random", "random", "ok", 0.95, 0.1, "s3"),
    ("s3-like", "similarity", "ok", 0.95, 0.1, "s3"),
)


def test_the_best_on_val_of_each_arm_best_first_and_the_published_cell():
    found = family(GRID, PAPER)
    assert found.config_id.tolist() == ["w1", "s3", "s2"]
    assert found.selected_on.tolist() == ["val", "val", "paper"]
    assert found.arm.tolist() == ["weight_norm", "similarity", "similarity"]


def test_controls_are_neither_chosen_nor_judged():
    assert best_on_val(GRID) == "w1"
    assert best_on_val(GRID[GRID.control_of.notna()]) is None
    without = GRID[GRID.control_of.isna()]
    pd.testing.assert_frame_equal(family(GRID, PAPER), family(without, PAPER))


def test_choice_looks_at_val_alone():
    grid = GRID.copy()
    grid.loc[(grid.images != "val") & (grid.config_id == "w2"), "accuracy"] = 1.0
    assert family(grid, PAPER).config_id[0] == "w1"


def test_the_rule_as_a_plain_loop():
    rng = np.random.default_rng(0)
    for _ in range(50):
        accuracy, nll = rng.integers(3, size=8) / 7, rng.integers(3, size=8) / 7
        best = 0
        for index in range(8):
            if (accuracy[index], -nll[index]) > (accuracy[best], -nll[best]):
                best = index
        assert best_index(accuracy, nll) == best


def test_a_published_cell_that_was_not_evaluated():
    with pytest.raises(UserError, match="no cell tau 7.0, factor 2.5; run dvc repro edit"):
        family(GRID, PaperCell(tau=7.0, factor=2.5))
    assert family(GRID[GRID.arm != "similarity"], PaperCell(tau=7.0, factor=2.5)).config_id.tolist() == ["w1"]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=8), st.data())
def test_what_a_part_of_the_family_rules_out_stays_so(counts, data):
    """Controls stop by Holm's p over the edits that are measured; the verdict's is over all."""
    images = 100
    before = torch.arange(images) < 50
    after = {}
    for number, (gains, losses) in enumerate(counts):
        after[f"{number}"] = before.clone()
        after[f"{number}"][50 : 50 + gains] = True
        after[f"{number}"][:losses] = False
    some = data.draw(st.sets(st.sampled_from(sorted(after)), min_size=1))
    every, part = corrected_tests(before, after), corrected_tests(before, {name: after[name] for name in sorted(some)})
    for name, (gains, losses, p_value) in part.items():
        assert (gains, losses) == every[name][:2] == counts[int(name)]
        assert p_value <= every[name][2] + 1e-12
        assert may_improve(*part[name]) or not may_improve(*every[name])
        alone = mcnemar(before, after[name]).p_value
        assert p_value >= alone
