"""Choosing and judging by folds of val and test: which edits, what the row says, and that it keeps its level."""

import dataclasses

import edit_bench
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from emobench.edits.cross_fitted import IMAGES, cross_fitted_verdict, open_to_choice
from emobench.edits.verdicts import Predictions
from emobench.errors import UserError
from emobench.functional.cross_fitting import chosen_elsewhere, cross_fitted, dealt_folds
from emobench.settings.results import CROSS_FITTED, CrossFitting
from emobench.vocabulary.class_names import BASIC

EDIT = edit_bench.small_params().edit
COMPARE = dataclasses.replace(edit_bench.small_params().compare, cross_fitting=CrossFitting(folds=4, draws=199))
COUNT, VAL = 240, 100
POSITIONS = {"val": np.arange(VAL), "test": np.arange(VAL + 10, COUNT)}
POSITIONS |= {"test_noleaks": np.arange(0), "val_test": np.arange(COUNT)}
KEPT = np.concatenate([POSITIONS["val"], POSITIONS["test"]])
ARMS = {"fdr-1": "fdr", "fdr-2": "fdr", "effect-1": "effect", "search-1": "search_free", "none": "accuracy"}


def made(preds: np.ndarray, labels: np.ndarray, arms=ARMS, controls=()) -> tuple[pd.DataFrame, Predictions]:
    """configs.parquet and predictions of the baseline, the edits and controls (name, kind) of arm fdr, in order."""
    names = ["baseline", *arms, *(name for name, _ in controls)]
    rows = [("baseline", "baseline", None, "baseline"), *((name, arm, None, arm) for name, arm in arms.items())]
    rows += [(name, kind, "fdr-1", "fdr") for name, kind in controls]
    table = pd.DataFrame(rows, columns=["config_id", "arm", "control_of", "criterion"])
    table["status"] = np.where(table["config_id"] == "none", "degenerate", "ok")
    table["nll_t"] = np.arange(len(table)) / 1000
    table = pd.concat([table.assign(images=images) for images in ("val", "test")], ignore_index=True)
    logits = np.zeros((1, COUNT, 7), np.float32)
    return table, Predictions(names, preds.astype(np.uint8), ["baseline"], logits, labels, POSITIONS, BASIC)


def drawn(seed: int, rows: int, right: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and answers that are the baseline's but for one in five; the first edit's changes are ``right`` more."""
    rng = np.random.default_rng(seed)
    labels, base = rng.integers(7, size=(2, COUNT))
    preds = np.where(rng.random((rows, COUNT)) < 0.2, rng.integers(7, size=(rows, COUNT)), base)
    preds[0] = base
    preds[1] = np.where(rng.random(COUNT) < right, labels, preds[1])
    return preds, labels


def test_what_val_had_a_say_in_is_not_chosen() -> None:
    configs, _ = made(*drawn(0, 7), controls=[("luck", "random")])
    assert open_to_choice(configs, EDIT) == ["fdr-1", "fdr-2"]
    on_train = dataclasses.replace(EDIT, search=dataclasses.replace(EDIT.search, split="train"))
    assert open_to_choice(configs, on_train) == ["fdr-1", "fdr-2", "search-1"]


def test_the_row_is_what_the_folds_choose() -> None:
    preds, labels = drawn(0, 6, right=0.3)
    together = np.arange(COUNT) // 2
    (row,) = cross_fitted_verdict(*made(preds, labels), together, COMPARE, EDIT, 3).to_dict("records")
    right = (preds == labels)[:, KEPT]
    changes = right[1:3].astype(np.int8) - right[0]
    folds = dealt_folds(together[KEPT], 4, seed=3)
    found, chosen = cross_fitted(changes, folds, draws=199, seed=3), chosen_elsewhere(changes, folds)
    assert (row["config_id"], row["selected_on"], row["images"]) == (CROSS_FITTED, CROSS_FITTED, IMAGES)
    assert (row["gains"], row["losses"], row["mcnemar_p"], row["holm_p"]) == (*found, found.p_value)
    assert row["accuracy"] == pytest.approx(right[1 + chosen[folds], np.arange(len(folds))].mean())
    assert row["delta_accuracy"] == pytest.approx((found.gains - found.losses) / len(KEPT))
    assert row["ci_low_accuracy"] < row["delta_accuracy"] < row["ci_high_accuracy"]
    assert (row["chosen"], row["verdict"]) == ("fdr-1 (4 of 4)", "not judged (no controls)")
    assert row["delta_nll_t"] == pytest.approx(0.001)


@pytest.mark.parametrize(("lucky", "verdict"), [(0.0, "improves"), (0.5, "no evidence")])
def test_it_has_to_beat_the_controls_of_what_was_chosen(lucky, verdict) -> None:
    preds, labels = drawn(0, 6, right=0.3)
    controls = [(f"luck-{number}", "random") for number in range(30)] + [("all", "uniform")]
    rng = np.random.default_rng(1)
    more = np.where(rng.random((31, COUNT)) < lucky, labels, preds[0])
    configs, predictions = made(np.concatenate([preds, more]), labels, controls=controls)
    (row,) = cross_fitted_verdict(configs, predictions, np.arange(COUNT), COMPARE, EDIT, 0).to_dict("records")
    assert (row["verdict"], row["control_draws"]) == (verdict, 30)
    assert row["control_p"] == pytest.approx(1 if lucky else 1 / 31)


def test_planted_nulls_keep_the_level() -> None:
    """Labels say nothing: of 40 choices among 6 edits more false ones than in 1 of 1,000 cases would be a fault."""
    arms, cases, false = {f"fdr-{number}": "fdr" for number in range(6)}, 40, 0
    compare = dataclasses.replace(COMPARE, bootstrap_draws=100)
    for seed in range(cases):
        configs, predictions = made(*drawn(seed, 7), arms=arms)
        (row,) = cross_fitted_verdict(configs, predictions, np.arange(COUNT), compare, EDIT, seed).to_dict("records")
        false += row["verdict"] != "no evidence"
    assert false <= binom.ppf(0.999, cases, 0.05)


def test_where_it_is_not_asked_for_or_can_not_be_done() -> None:
    configs, predictions = made(*drawn(0, 6))
    off = dataclasses.replace(COMPARE, cross_fitting=CrossFitting(folds=0, draws=199))
    assert cross_fitted_verdict(configs, predictions, np.arange(COUNT), off, EDIT, 0).empty
    only = configs[configs["arm"] != "fdr"]
    assert cross_fitted_verdict(only, predictions, np.arange(COUNT), COMPARE, EDIT, 0).empty
    with pytest.raises(UserError, match="cross_fitting.folds is 4, but there are only 3 separate pictures"):
        cross_fitted_verdict(configs, predictions, np.arange(COUNT) % 3, COMPARE, EDIT, 0)
