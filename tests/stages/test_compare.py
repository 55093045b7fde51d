import dataclasses
import json

import edit_bench
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest

from emobench.errors import UserError
from emobench.faces.imageset import load_imageset
from emobench.files import SEAL, write_json, write_sealed
from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import probability_metrics
from emobench.networks.sources import load_network
from emobench.settings.edit import PaperCell
from emobench.stages import compare, edit

PARAMS = edit_bench.small_params()


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    layout = edit_bench.write_benchmark(tmp_path_factory.mktemp("compare"), val=60, test=90)
    edit.run(PARAMS, layout)
    compare.run(PARAMS, layout)
    return layout


@pytest.fixture(scope="module")
def table(layout):
    return pd.read_parquet(layout.artifacts / "verdicts.parquet")


def test_verdicts_go_to_the_best_on_val_of_each_arm_and_the_published_cell(layout, table):
    configs = pd.read_parquet(layout.artifacts / "configs.parquet")
    val = configs[(configs.images == "val") & (configs.status == "ok") & (configs.arm != "baseline")]
    expected = set()
    for arm in PARAMS.edit.arms:
        rows = val[val.arm == arm].sort_values("nll", kind="stable")
        expected.add((rows.config_id[rows.accuracy.idxmax()], "val"))
    paper = val[(val.arm == "similarity") & (val.tau == 0.0) & (val.factor == 1.5)].config_id.iloc[0]
    expected.add((paper, "paper"))
    for images in ("test", "test_noleaks", "val_test"):
        rows = table[table.images == images]
        assert set(zip(rows.config_id, rows.selected_on, strict=True)) == expected
    best = val[val.accuracy == val.accuracy.max()].sort_values("nll", kind="stable").config_id.iloc[0]
    assert table.config_id[0] == best


def test_counts_and_p_values_come_from_the_predictions(layout, table):
    imageset = load_imageset(layout.data)
    preds = np.load(layout.artifacts / "predictions.npy")
    ids = json.loads((layout.artifacts / "prediction_ids.json").read_text())
    place = {row: column for column, row in enumerate(ids["image_rows"])}
    for row in table[table.selected_on != "cross_fitted"].itertuples():
        at = imageset.evaluation_rows()[row.images]
        before, after = (
            [preds[ids["config_ids"].index(name), place[i]] == imageset.labels[i] for i in at]
            for name in ("baseline", row.config_id)
        )
        gains = sum(a and not b for b, a in zip(before, after, strict=True))
        losses = sum(b and not a for b, a in zip(before, after, strict=True))
        assert (row.gains, row.losses) == (gains, losses)
        assert row.delta_accuracy == pytest.approx((gains - losses) / len(at))
        assert row.ci_low_accuracy <= row.delta_accuracy <= row.ci_high_accuracy
        p_value = binomtest(gains, gains + losses).pvalue if gains + losses else 1.0
        assert row.mcnemar_p == pytest.approx(p_value)
        assert row.holm_p >= row.mcnemar_p
        assert np.isnan(row.control_percentile)
        assert row.verdict != "improves"


def test_likelihood_is_compared_after_the_temperatures_of_val(layout, table):
    imageset = load_imageset(layout.data)
    network = load_network(layout.models / "network")
    edited = edit_bench.with_file(layout, layout.models / "edited.safetensors")  # the best on val
    labels, rows = torch.from_numpy(imageset.labels), imageset.evaluation_rows()
    with torch.inference_mode():
        before, after = (one.logits(imageset.images).double() for one in (network, edited))
    before, after = (one / fit_temperature(one[rows["val"]], labels[rows["val"]]) for one in (before, after))
    for row in table[table.config_id == table.config_id[0]].itertuples():
        at = rows[row.images]
        first, second = (probability_metrics(one[at], labels[at]) for one in (before, after))
        for name in ("nll", "brier"):
            assert getattr(row, f"{name}_t") == pytest.approx(float(second[name]), rel=1e-3)
            delta = float(second[name] - first[name])
            assert getattr(row, f"delta_{name}_t") == pytest.approx(delta, abs=1e-3)
            assert getattr(row, f"ci_low_{name}_t") <= delta + 1e-3
            assert getattr(row, f"ci_high_{name}_t") >= delta - 1e-3


def test_choosing_by_folds_has_a_row_of_its_own(layout, table):
    (row,) = table[table.selected_on == "cross_fitted"].to_dict("records")
    sets = load_imageset(layout.data).evaluation_rows()
    assert (row["config_id"], row["images"]) == ("cross_fitted", "val_test_kept")
    both = len(sets["val"]) + len(sets["test"])
    assert row["delta_accuracy"] == pytest.approx((row["gains"] - row["losses"]) / both)
    off = dataclasses.replace(PARAMS.compare.cross_fitting, folds=0)
    without = dataclasses.replace(PARAMS, compare=dataclasses.replace(PARAMS.compare, cross_fitting=off))
    path = layout.artifacts / "verdicts.parquet"
    before = path.read_bytes()
    compare.run(without, layout)
    again = pd.read_parquet(path)
    path.write_bytes(before)
    pd.testing.assert_frame_equal(again, table[table.selected_on != "cross_fitted"][again.columns])


def test_metrics_and_plot(layout, table):
    metrics = json.loads((layout.reports / "compare.json").read_text())
    configs = pd.read_parquet(layout.artifacts / "configs.parquet").set_index(["config_id", "images"])
    chosen = metrics["chosen_edit"]
    assert chosen["config_id"] == table.config_id[0]
    for images in ("val", "test", "test_noleaks", "val_test"):
        baseline = configs.loc[("baseline", images), "accuracy"]
        edited = configs.loc[(chosen["config_id"], images), "accuracy"]
        assert metrics["baseline"][images] == pytest.approx(baseline)
        assert chosen[images] == pytest.approx(edited)
        assert chosen["delta"][images] == pytest.approx(edited - baseline)
    assert metrics["evaluated"] == 19
    grid = pd.read_csv(layout.reports / "edit_grid.csv")
    assert len(grid) == 4 * 3 * 4
    assert list(grid.columns) == ["tau", "factor", "images", "accuracy"]


def test_predictions_of_another_image_set(layout):
    path = layout.artifacts / "prediction_ids.json"
    ids = json.loads(path.read_text())
    write_sealed(path, {name: value for name, value in ids.items() if name != SEAL} | {"images_digest": "0"})
    try:
        with pytest.raises(UserError, match="belongs to another image set"):
            compare.run(PARAMS, layout)
    finally:
        write_json(path, ids)


def test_a_published_cell_that_was_not_evaluated(layout):
    other = dataclasses.replace(PARAMS, edit=dataclasses.replace(PARAMS.edit, paper=PaperCell(tau=7.0, factor=2.0)))
    with pytest.raises(UserError, match="no cell tau 7.0, factor 2.0"):
        compare.run(other, layout)
