import dataclasses
import math

import edit_bench
import numpy as np
import pandas as pd
import pytest
import torch

from emobench.edits.drawing import Tally
from emobench.edits.family import may_improve
from emobench.edits.verdicts import Predictions, summary, verdict, verdicts
from emobench.errors import UserError
from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import probability_metrics
from emobench.functional.paired import detectable_difference, mcnemar
from emobench.settings.edit import Controls, PaperCell
from emobench.settings.results import Compare, CrossFitting
from emobench.vocabulary.class_names import BASIC

COMPARE = Compare(bootstrap_draws=200, confidence=0.95, cross_fitting=CrossFitting(folds=0, draws=100))
EDIT = dataclasses.replace(
    edit_bench.small_params().edit, paper=PaperCell(tau=0.0, factor=1.5), controls=Controls(draws=30, least=5)
)
SETS = ("val", "test", "test_noleaks", "val_test")


def configs(*rows, temperature=2.0):
    """Rows of (config_id, arm, status, accuracy, nll), the same on every image set; s2 is the published cell."""
    table = pd.DataFrame(
        [("baseline", "baseline", "ok", 0.5, 1.0), *rows], columns=["config_id", "arm", "status", "accuracy", "nll"]
    )
    table = table.assign(tau=0.0, factor=np.where(table.config_id == "s2", 1.5, 2.0), temperature=temperature)
    table = table.assign(control_of=None, criterion=table.arm, rows_differing=np.nan, seed=np.nan)
    return pd.concat([table.assign(images=images) for images in SETS], ignore_index=True)


def controls(edit, name, **accuracies):
    """Controls of an edit: for each kind the accuracies of its draws."""
    rows = [(f"{name}-{kind}-{i}", kind, "ok", v, 1.0) for kind, vs in accuracies.items() for i, v in enumerate(vs)]
    place = {row[0]: index % 3 for index, row in enumerate(rows)}
    table = configs(*rows)
    table = table[table.arm != "baseline"]
    table = table.assign(seed=table.config_id.str.rpartition("-")[2].astype(int))
    return table.assign(control_of=edit, criterion=name, rows_differing=table.config_id.map(place))


def predictions(**right):
    """Predictions that are right on that many of 100 images, the first ones, with logits that agree."""
    preds = np.array([[0] * count + [1] * (100 - count) for count in right.values()], dtype=np.uint8)
    logits = 3 * np.eye(7, dtype=np.float32)[preds]
    everywhere = dict.fromkeys(SETS, np.arange(100))
    return Predictions(list(right), preds, list(right), logits, np.zeros(100, dtype=np.int64), everywhere, BASIC)


GRID = configs(
    ("s1", "similarity", "degenerate", 0.9, 0.1),
    ("s2", "similarity", "ok", 0.6, 1.0),
    ("s3", "similarity", "ok", 0.6, 0.9),
    ("w1", "weight_norm", "ok", 0.7, 2.0),
    ("w2", "weight_norm", "ok", 0.7, 2.0),
)


def judged(grid, **right):
    table = verdicts(grid, predictions(**right), COMPARE, EDIT, seed=0)
    return table[table.images == "test"].set_index("config_id")


GOOD = {
    "gains": 60,
    "losses": 20,
    "holm_p": 0.01,
    "accuracy": 0.7,
    "control_p": 0.005,
    "random_p95": 0.69,
    "uniform_accuracy": 0.69,
    "ci_high_nll_t": 0.0019,
}


@pytest.mark.parametrize(
    ("changes", "expected", "why"),
    [
        ({}, "improves", ""),
        ({"holm_p": 0.05}, "no evidence", "Holm p = 0.05"),
        ({"holm_p": 0.62, "control_p": 0.4}, "no evidence", "Holm p = 0.62; random controls do as well (p = 0.4)"),
        ({"gains": 20, "losses": 20}, "no evidence", "Holm p = 0.01"),
        ({"gains": 20, "losses": 60}, "harms", ""),
        ({"gains": 20, "losses": 60, "control_p": math.nan}, "harms", ""),
        ({"gains": 20, "losses": 60, "holm_p": 0.05}, "no evidence", "Holm p = 0.05"),
        ({"control_p": 0.05}, "no evidence", "random controls do as well (p = 0.05)"),
        ({"random_p95": 0.7}, "no evidence", "random controls do as well (p = 0.005)"),
        ({"uniform_accuracy": 0.7}, "no evidence", "a uniform factor does as well"),
        ({"ci_high_nll_t": 0.002}, "no evidence", "NLL after temperature may rise by 0.002"),
        ({"control_p": math.nan}, "not judged (no controls)", ""),
        ({"control_p": math.nan, "holm_p": 0.5}, "no evidence", "Holm p = 0.5"),
    ],
)
def test_every_condition_counts(changes, expected, why):
    assert verdict(GOOD | changes) == (expected, why)


def test_without_controls():
    test = judged(GRID, baseline=50, w1=80, s3=20, s2=51)
    assert test.verdict.to_dict() == {"w1": "not judged (no controls)", "s3": "harms", "s2": "no evidence"}
    assert test.gains.to_dict() == {"w1": 30, "s3": 0, "s2": 1}
    assert test.losses.to_dict() == {"w1": 0, "s3": 30, "s2": 0}
    assert test.holm_p["w1"] == pytest.approx(3 * test.mcnemar_p["w1"])
    assert test.holm_p["s2"] == 1.0
    assert test.detectable.to_dict() == pytest.approx(
        {name: detectable_difference(100, 0.3, alpha=0.05 / 3) for name in ("w1", "s3")} | {"s2": math.nan},
        nan_ok=True,
    )
    assert test.detectable_points["w1"] == test.detectable["w1"]  # of 100 images
    assert test.delta_accuracy.to_dict() == pytest.approx({"w1": 0.3, "s3": -0.3, "s2": 0.01})
    for name in ("control_p", "control_percentile", "random_p95", "uniform_accuracy", "inverse_accuracy"):
        assert test[name].isna().all()


def test_every_image_set_with_images_has_its_verdicts():
    right = predictions(baseline=50, w1=80, s3=20, s2=51)
    assert set(verdicts(GRID, right, COMPARE, EDIT, seed=0).images) == {"test", "test_noleaks", "val_test"}
    right.positions["test_noleaks"] = np.arange(0)
    assert set(verdicts(GRID, right, COMPARE, EDIT, seed=0).images) == {"test", "val_test"}


def test_an_improvement_beats_both_kinds_of_luck_and_a_uniform_factor():
    luck = {"random": [0.5] * 38 + [0.7, 0.71], "decile": [0.4] * 40, "uniform": [0.69], "inverse": [0.3]}
    grid = pd.concat([GRID, controls("w1", "weight_norm", **luck)], ignore_index=True)
    right = {"baseline": 50, "w1": 80, "s3": 20, "s2": 51}
    row = judged(grid, **right).loc["w1"]
    assert row.control_p == pytest.approx(max((1 + 2) / 41, 1 / 41))
    assert row.control_percentile == pytest.approx(100 * 38 / 40)
    assert row.random_p95 == pytest.approx(np.quantile(luck["random"], 0.95))
    assert (row.uniform_accuracy, row.inverse_accuracy) == (0.69, 0.3)
    assert row.rows_differing == pytest.approx(np.mean([i % 3 for i in range(80)]))
    assert (row.verdict, row.why) == ("no evidence", "random controls do as well (p = 0.073)")
    luck["random"] = [0.5] * 40
    grid = pd.concat([GRID, controls("w1", "weight_norm", **luck)], ignore_index=True)
    row = judged(grid, **right).loc["w1"]
    assert (row.verdict, row.why) == ("improves", "")
    assert row.control_p == pytest.approx(1 / 41)


def test_stopped_draws_count_to_the_settling_one_in_the_order_of_the_draws():
    """Of 30 planned draws two settle it; the p-value is 2 over the draw at which the second came."""
    luck = {"random": [0.5, 0.7, 0.5, 0.5, 0.71, 0.5], "decile": [0.4] * 29 + [0.8], "uniform": [0.5]}
    drawn = controls("w1", "weight_norm", **luck).sample(frac=1, random_state=0)
    grid = pd.concat([GRID, drawn], ignore_index=True)
    row = judged(grid, baseline=50, w1=80, s3=20, s2=51).loc["w1"]
    assert (row.control_p, row.control_draws) == (2 / 5, 6)
    luck["random"] = [0.5] * 30
    grid = pd.concat([GRID, controls("w1", "weight_norm", **luck)], ignore_index=True)
    row = judged(grid, baseline=50, w1=80, s3=20, s2=51).loc["w1"]
    assert (row.control_p, row.control_draws) == (2 / 31, 30)
    luck["random"] = [0.5] * 6
    grid = pd.concat([GRID, controls("w1", "weight_norm", **luck)], ignore_index=True)
    with pytest.raises(ValueError, match="6 of 30 draws with 0 hits"):
        judged(grid, baseline=50, w1=80, s3=20, s2=51)


def test_draws_of_an_edit_that_its_own_test_rules_out_may_be_few():
    luck = {"random": [0.5, 0.5, 0.7], "decile": [0.4] * 3, "uniform": [0.5]}
    grid = pd.concat([GRID, controls("w1", "weight_norm", **luck)], ignore_index=True)
    row = judged(grid, baseline=50, w1=52, s3=20, s2=51).loc["w1"]
    assert (row.verdict, row.control_p, row.control_draws) == ("no evidence", 2 / 4, 3)


@pytest.mark.parametrize("right", [40, 52, 54, 55, 56, 57, 70])
@pytest.mark.parametrize("seed", range(3))
def test_stopped_draws_give_the_verdicts_of_all_draws(right, seed):
    """Edits that lose, gain too little, and gain; controls that often, seldom and never do as well."""
    rng = np.random.default_rng((seed, right))
    rate = rng.choice([0.0, 0.03, 0.1, 0.5])
    random, decile = (right + np.where(rng.random(30) < rate, 1, -1) for _ in range(2))
    found, verdict_of = predictions(baseline=50, w1=right), {}
    open_ = torch.tensor([may_improve(*mcnemar(found.preds[0] == 0, found.preds[1] == 0))])
    for stops in (True, False):
        made = {}
        for kind, draws in (("random", random), ("decile", decile)):
            tally = Tally(EDIT.controls, torch.tensor([right]), open_)
            tally.add(torch.from_numpy(draws)[:, None])
            made[kind] = list(draws[: tally.kept if stops else 30] / 100)
        grid = configs(("w1", "weight_norm", "ok", right / 100, 0.5))
        grid = pd.concat([grid, controls("w1", "weight_norm", **made, uniform=[0.5])], ignore_index=True)
        table = verdicts(grid, found, COMPARE, EDIT, seed=0)
        verdict_of[stops] = table.groupby("images").verdict.first().to_dict()
    assert verdict_of[True] == verdict_of[False]


def test_the_published_cell_has_its_own_controls_even_where_it_was_also_chosen():
    grid = configs(("s2", "similarity", "ok", 0.6, 1.0))
    of_arm = controls("s2", "similarity", random=[0.7] * 30, decile=[0.7] * 30, uniform=[0.5])
    of_paper = controls("s2", "paper", random=[0.5] * 30, decile=[0.5] * 30, uniform=[0.5])
    table = verdicts(pd.concat([grid, of_arm, of_paper]), predictions(baseline=50, s2=60), COMPARE, EDIT, seed=0)
    test = table[table.images == "test"].set_index("selected_on")
    assert test.control_percentile.to_dict() == {"val": 0.0, "paper": 100.0}
    assert test.verdict.to_dict() == {"val": "no evidence", "paper": "improves"}
    assert test.holm_p.tolist() == test.mcnemar_p.tolist()  # one hypothesis, though it stands there twice


def test_reliability_before_and_after_temperature():
    rng = np.random.default_rng(0)
    labels = rng.integers(7, size=60)
    logits = rng.normal(size=(2, 60, 7)).astype(np.float32) * 2 + 2 * np.eye(7, dtype=np.float32)[labels]
    temperatures = [float(fit_temperature(torch.from_numpy(one), torch.from_numpy(labels))) for one in logits]
    grid = configs(("s2", "similarity", "ok", 0.6, 1.0), temperature=temperatures)
    names, at = ["baseline", "s2"], {"val": np.arange(5), "test": np.arange(5, 60)}
    at |= {"test_noleaks": np.arange(0), "val_test": np.arange(60)}
    found = Predictions(names, logits.argmax(-1).astype(np.uint8), names, logits, labels, at, BASIC)
    table = verdicts(grid, found, COMPARE, EDIT, seed=3).set_index("images")
    for images in ("test", "val_test"):
        row, target = table[table.selected_on == "val"].loc[images], torch.from_numpy(labels[at[images]])
        for suffix, degrees in (("", [1.0, 1.0]), ("_t", temperatures)):
            before, after = (
                probability_metrics(torch.from_numpy(logits[i, at[images]]).double() / degrees[i], target)
                for i in (0, 1)
            )
            for name in ("nll", "brier", "ece"):
                assert row[name + suffix] == pytest.approx(float(after[name]), abs=1e-6)
                delta = float(after[name] - before[name])
                assert row[f"delta_{name}{suffix}"] == pytest.approx(delta, abs=1e-6)
                assert row[f"ci_low_{name}{suffix}"] < row[f"ci_high_{name}{suffix}"]


def test_without_any_edit_to_judge():
    grid = configs(("w1", "weight_norm", "degenerate", 0.6, 1.0))
    with pytest.raises(UserError, match="every configuration is degenerate"):
        verdicts(grid, predictions(baseline=50, w1=60), COMPARE, EDIT, seed=0)


def test_summary():
    table = verdicts(GRID, predictions(baseline=50, w1=80, s3=20, s2=51), COMPARE, EDIT, seed=0)
    found = summary(GRID, table)
    assert found["baseline"]["test"] == 0.5
    assert found["chosen_edit"]["config_id"] == "w1"
    assert found["chosen_edit"]["delta"]["test"] == pytest.approx(0.2)
    assert found["paper_edit"]["val_test"] == 0.6
