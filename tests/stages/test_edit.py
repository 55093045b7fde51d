import json

import edit_bench
import numpy as np
import pandas as pd
import pytest
import torch

from emobench.edits.experiment import mean_outputs
from emobench.edits.exporting import export_network
from emobench.faces.imageset import load_imageset
from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import classification_metrics
from emobench.functional.edits import edited_state
from emobench.networks.sources import load_network
from emobench.stages import edit
from emobench.vocabulary.class_names import BASIC

ARMS = ["similarity", "weight_norm", "proportional", "fdr", "accuracy", "faithfulness", "description", "effect"]
PARAMS = edit_bench.small_params(
    arms=ARMS, divided_factors=[1.5], lone_factors=[0.0, 2.0], concepts=["smile", "frown", "closed eyes"]
)


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    layout = edit_bench.write_benchmark(tmp_path_factory.mktemp("edit"))
    edit.run(PARAMS, layout)
    return layout


@pytest.fixture(scope="module")
def configs(layout):
    return pd.read_parquet(layout.artifacts / "configs.parquet")


def selects(row, unit, effect, norm, mean_norm, median):
    """Whether a unit is selected, each arm's rule said once more."""
    rules = {
        "similarity": lambda: unit.similarity > row.tau,
        "weight_norm": lambda: norm > mean_norm,
        "fdr": lambda: unit.q_value < PARAMS.dissect.fdr,
        "accuracy": lambda: unit.lift > 1,
        "faithfulness": lambda: unit.clip_auprc > median,  # measured_auprc is NaN everywhere
        "description": lambda: unit.description in ("smile", "frown", "closed eyes"),
        "effect": lambda: effect.delta_accuracy < 0 if row.criterion == "effect:accuracy" else effect.delta_nll > 0,
    }
    return rules[row.arm]()


def plain_edit(row, units, effects, weight, bias, means):
    """The scale of each row and the new bias, by loops."""
    norms = weight.flatten(1).abs().sum(1).tolist()
    low, high = units.similarity.min(), units.similarity.max()
    scale, shift = [], []
    for index, (unit, effect) in enumerate(zip(units.itertuples(), effects.itertuples(), strict=True)):
        factor = 1.0
        if row.arm == "proportional":
            factor = row.factor * (unit.similarity - low) / (high - low)
        elif row.arm != "baseline":
            divided = row.arm not in ("description", "effect") and row.operation in ("rows", "rows_bias")
            strong = row.factor if row.operation in ("rows", "rows_bias") else 0.0
            chosen = selects(row, unit, effect, norms[index], sum(norms) / len(norms), units.clip_auprc.median())
            factor = strong if chosen else 1 / row.factor if divided else 1.0
        scale.append(factor)
        moved = bias[index] if row.operation == "rows" else factor * bias[index]
        shift.append(means[index] if row.operation == "mean" and factor == 0 else moved)
    return torch.tensor(scale), torch.tensor(shift)


def test_a_configuration_is_the_edited_network_run_again(layout, configs):
    imageset, preds = load_imageset(layout.data), np.load(layout.artifacts / "predictions.npy")
    ids = json.loads((layout.artifacts / "prediction_ids.json").read_text())
    rows, labels = imageset.evaluation_rows(), torch.tensor(imageset.labels)
    assert ids["images_digest"] == imageset.digest()
    assert ids["image_rows"] == list(rows["val_test"])
    assert preds.dtype == np.uint8
    layer, every = configs.layer[0], pd.read_parquet(layout.artifacts / "units.parquet")
    units = every[(every.layer == layer) & (every.concept_set == "expressions")].sort_values("unit")
    effects = pd.read_parquet(layout.artifacts / "unit_effects.parquet")
    means = mean_outputs(load_network(layout.models / "network"), layer, imageset).tolist()
    network = load_network(layout.models / "network")
    state = {name: value.clone() for name, value in network.model.state_dict().items()}
    for position, config_id in list(enumerate(ids["config_ids"]))[::4]:  # every fourth: each arm and each operation
        table = configs[configs.config_id == config_id].set_index("images")
        row = table.iloc[0]
        own, (weight, bias) = effects[effects.layer == layer], (state[f"{layer}.{name}"] for name in ("weight", "bias"))
        scale, shift = plain_edit(row, units, own, weight, bias.tolist(), means)
        assert (row.n_up, row.n_down) == ((scale > 1).sum(), (scale < 1).sum())
        network.model.load_state_dict(edited_state(state, f"{layer}.weight", scale, shift, bias=f"{layer}.bias"))
        with torch.inference_mode():
            logits = network.logits(imageset.images)
        assert (preds[position] == logits[rows["val_test"]].argmax(-1).numpy()).mean() > 0.98
        temperature = float(fit_temperature(logits[rows["val"]], labels[rows["val"]]))
        assert row.temperature == pytest.approx(temperature, rel=1e-3)
        for images, at in rows.items():
            expected = classification_metrics(logits[at], labels[at], BASIC)
            assert table.loc[images, "accuracy"] == pytest.approx(expected["accuracy"], abs=1.01 / len(at))
            assert table.loc[images, "nll"] == pytest.approx(expected["nll"], rel=1e-4)
            calibrated = classification_metrics(logits[at] / temperature, labels[at], BASIC)
            assert table.loc[images, "nll_t"] == pytest.approx(calibrated["nll"], rel=1e-4)


def test_the_grid_is_complete_and_named(layout, configs):
    layers = pd.read_parquet(layout.artifacts / "layers.parquet")
    layers = layers[(layers.concept_set == "expressions") & (layers.layer != "lin3")]
    layer = layers.loc[layers.num_interp.idxmax(), "layer"]
    assert set(configs.layer) == {layer}
    assert not configs.duplicated(["config_id", "images"]).any()
    once = configs[configs.images == "test"].set_index("config_id")
    counts = {"baseline": 1, "similarity": 12, "weight_norm": 3, "proportional": 3}
    counts |= {"fdr": 4, "accuracy": 4, "faithfulness": 4, "description": 6, "effect": 12}
    assert once.arm.value_counts().to_dict() == counts
    assert set(once.operation[once.arm == "effect"]) == {"rows", "rows_bias", "zero", "mean"}
    assert set(once.operation[once.arm.isin(ARMS[:3])]) == {"rows"}
    assert f"{layer}-similarity-expressions-soft_wpmi-tau+0.00-f1.50" in once.index
    assert f"{layer}-weight_norm-f3.00" in once.index
    assert (once.status[once.tau == -9.0] == "degenerate").all()
    assert (once.status[once.tau == 0.0] == "ok").all()
    assert set(configs.images) == {"val", "test", "test_noleaks", "val_test"}


def test_factor_one_is_the_baseline(configs):
    metrics = ["accuracy", "nll", "ece", "temperature"]
    baseline = configs[configs.arm == "baseline"].set_index("images")[metrics]
    for _, rows in configs[(configs.factor == 1.0) & configs.arm.isin(["similarity", "weight_norm"])].groupby(
        "config_id"
    ):
        pd.testing.assert_frame_equal(rows.set_index("images")[metrics], baseline, check_exact=True)


def test_the_edited_weights_are_the_best_on_val(layout, configs):
    val = configs[(configs.images == "val") & (configs.arm != "baseline") & (configs.status == "ok")]
    best = val[val.accuracy == val.accuracy.max()].sort_values("nll", kind="stable").iloc[0]
    edited = edit_bench.with_file(layout, layout.models / "edited.safetensors")
    before, after = load_network(layout.models / "network").model.state_dict(), edited.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    expected = {f"{best.layer}.weight"} if best.factor != 1.0 or best.arm == "proportional" else set()
    assert changed == expected | ({f"{best.layer}.bias"} if best.operation != "rows" else set())
    imageset = load_imageset(layout.data)
    with torch.inference_mode():
        logits = edited.logits(imageset.images)
    rows = imageset.evaluation_rows()["val"]
    assert (logits[rows].argmax(-1).numpy() == imageset.labels[rows]).mean() == pytest.approx(best.accuracy, abs=0.03)


@pytest.mark.parametrize("layer", ["lin1", "lin2"])
def test_unit_effects_are_networks_without_that_unit(layout, layer):
    table = pd.read_parquet(layout.artifacts / "unit_effects.parquet")
    assert list(table.columns) == ["layer", "unit", "images", "delta_accuracy", "delta_nll"]
    assert set(table.layer) == {"lin1", "lin2"}
    effects = table[table.layer == layer].set_index("unit")
    network, imageset = load_network(layout.models / "network"), load_imageset(layout.data)
    rows = imageset.evaluation_rows()["val"]
    weight, labels = network.model.get_submodule(layer).weight, torch.from_numpy(imageset.labels[rows])
    assert effects.index.tolist() == list(range(len(weight)))
    assert set(effects.images) == {len(rows)}

    def measured():
        with torch.inference_mode():
            logits = network.logits(imageset.images, rows)
        metrics = classification_metrics(logits, labels, BASIC)
        return metrics["nll"], metrics["accuracy"]

    before = measured()
    for unit in effects.delta_nll.abs().sort_values().index[-3:]:
        kept = weight.data[unit].clone()
        weight.data[unit] = 0
        nll, accuracy = measured()
        assert effects.delta_nll[unit] == pytest.approx(nll - before[0], abs=1e-4)
        assert effects.delta_accuracy[unit] == pytest.approx(accuracy - before[1], abs=1.01 / len(rows))
        weight.data[unit] = kept


@pytest.mark.slow
def test_the_edited_layer_has_effects_too_and_finished_sweeps_outlive_an_interruption(tmp_path, monkeypatch):
    layout = edit_bench.write_benchmark(tmp_path, val=12, test=12)
    params = edit_bench.small_params(layer="conv1b", arms=["weight_norm", "effect"], operations=["zero"])
    with monkeypatch.context() as patch:
        patch.setattr(edit, "write_parquet", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            edit.run(params, layout)
    kept = list(layout.partial.rglob("*.safetensors"))
    assert len(kept) >= 4  # a task or more of each of three layers' units, and of the edits
    edit.run(params, layout)
    assert not any(path.is_file() for path in layout.partial.rglob("*"))
    table = pd.read_parquet(layout.artifacts / "unit_effects.parquet")
    assert table.layer.unique().tolist() == ["lin1", "lin2", "conv1b"]
    assert pd.read_parquet(layout.artifacts / "configs.parquet").control_of.isna().all()  # no draws, no controls
    assert json.loads((layout.artifacts / "prediction_ids.json").read_text())["evaluated"] == 1 + 3 + 2


def test_searches_are_judged_beside_the_arms_and_can_be_exported(tmp_path):
    searched = {"kinds": ["free", "descriptions"], "joint": ["lin1", "lin2"]}
    params = edit_bench.small_params(search=searched, draws=3, arms=["weight_norm"])
    layout = edit_bench.write_benchmark(tmp_path)
    edit.run(params, layout)
    configs = pd.read_parquet(layout.artifacts / "configs.parquet").query("images == 'test'").set_index("config_id")
    own = configs[configs["control_of"].isna()]
    arms = {"search_free": "lin2", "search_descriptions": "lin2", "search_descriptions_joint": "lin1+lin2"}
    for arm, layer in arms.items():
        assert set(own.loc[own["arm"] == arm, "layer"]) == {layer}
        drawn = configs[(configs["criterion"] == arm) & configs["control_of"].notna()]
        assert drawn["arm"].value_counts().to_dict() == {
            "random": 3,
            "decile": 3,
            "uniform": 1,
            "inverse": 1,
            "temperature": 1,
        }
    # What was fitted to val can't be the best on val.
    tried = pd.read_parquet(layout.artifacts / "search.parquet")
    assert set(tried["layers"]) == {"lin2", "lin1+lin2"}
    baseline = load_network(layout.models / "network").model
    edited = edit_bench.with_file(layout, layout.models / "edited.safetensors").model
    ratio = edited.lin2.weight / baseline.lin2.weight
    assert len(ratio.mean(1).round(decimals=3).unique()) <= 2
    ids = json.loads((layout.artifacts / "prediction_ids.json").read_text())
    assert set(arms) <= {configs.loc[name, "arm"] for name in ids["logit_ids"]}
    assert np.load(layout.artifacts / "family_logits.npy").shape[0] == len(ids["logit_ids"])
    for arm, layer in arms.items():
        done = export_network(params, layout, own.index[own["arm"] == arm][0], tmp_path / "edited.safetensors")
        assert (done.layer, done.images) == (layer, len(ids["image_rows"]))
        weights = edit_bench.with_file(layout, tmp_path / "edited.safetensors").model
        for name in ("lin1", "lin2"):
            same = torch.equal(weights.get_submodule(name).weight, baseline.get_submodule(name).weight)
            assert same == (name not in layer.split("+"))
