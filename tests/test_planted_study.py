"""The study's tables, from verdicts that are written by hand."""

import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))
from planted_tables import arm_table, gain_table, null_table, write_summary

NULLS = pd.DataFrame(
    {
        "null": "labels",
        "draw": [0, 0, 0, 1, 1],
        "config_id": ["a", "b", "b", "a", "c"],
        "verdict": ["harms", "no evidence", "no evidence", "no evidence", "no evidence"],
        "holm_p": [0.01, 1.0, 1.0, 0.3, 1.0],
        "mcnemar_p": [0.005, 0.5, 0.5, 0.15, 1.0],
    }
)
GAINS = pd.DataFrame(
    {
        "among": "random",
        "kind": "third",
        "share": 0.1,
        "draw": [0, 0, 0, 1],
        "arm": ["undone", "effect", "fdr", "undone"],
        "verdict": ["significant", "improves", "no evidence", "no evidence"],
        "selected_on": [None, "val", "val", None],
        "holm_p": [float("nan"), 0.001, 0.5, float("nan")],
        "gains": [30, 20, 5, 3],
        "losses": [2, 1, 5, 1],
        "found": [float("nan"), 0.75, 0.5, float("nan")],
        "others_moved": [float("nan"), 0.25, 0.5, float("nan")],
    }
)


def test_an_edit_that_stands_there_twice_counts_once() -> None:
    (row,) = null_table(NULLS).to_dict("records")
    assert (row["edits"], row["improves"], row["harms"], row["families"], row["families_told"]) == (4, 0, 1, 2, 1)
    assert row["harms_share"] == 0.25
    assert row["improves_low"] == 0
    assert row["improves_high"] == pytest.approx(1 - 0.025 ** (1 / 4))  # none of four


def test_how_often_a_gain_is_found_that_is_there() -> None:
    (row,) = gain_table(GAINS).to_dict("records")
    assert (row["plantings"], row["can_be_told"], row["improves"], row["net_images"]) == (2, 1, 1, 15)
    assert (row["found"], row["others_moved"], row["arms"]) == (0.75, 0.25, "effect")


def test_how_often_each_arm_finds_it() -> None:
    effect, fdr = arm_table(GAINS).to_dict("records")
    assert (effect["arm"], effect["judged"], effect["better_by_test"], effect["improves"]) == ("effect", 1, 1, 1)
    assert (effect["found"], effect["others_moved"]) == (0.75, 0.25)
    assert (fdr["arm"], fdr["better_by_test"], fdr["improves"], fdr["harms"]) == ("fdr", 0, 0, 0)


def test_the_same_tables_give_the_same_files(tmp_path) -> None:
    NULLS.to_csv(tmp_path / "nulls.csv", index=False)
    GAINS.to_csv(tmp_path / "gains.csv", index=False)
    assert len(write_summary(tmp_path)) == 3
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(first) == {
        "nulls.csv",
        "gains.csv",
        "nulls_summary.csv",
        "gains_summary.csv",
        "gains_arms.csv",
        "nulls.svg",
        "gains.svg",
    }
    write_summary(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
