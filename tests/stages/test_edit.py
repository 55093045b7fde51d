import json

import edit_bench
import numpy as np
import pandas as pd
import pytest
import torch

from emobench.faces.imageset import load_imageset
from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import classification_metrics
from emobench.functional.edits import edited_state
from emobench.networks.loading import load_network
from emobench.networks.training import predict_logits
from emobench.stages import edit
from emobench.vocabulary import CLASSES

PARAMS = edit_bench.small_params()


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    layout = edit_bench.write_benchmark(tmp_path_factory.mktemp("edit"))
    edit.run(PARAMS, layout)
    return layout


@pytest.fixture(scope="module")
def configs(layout):
    return pd.read_parquet(layout.artifacts / "configs.parquet")


def plain_scale(row, similarity, weight):
    """The scale of each row as the seed's loops do it."""
    norms = weight.flatten(1).abs().sum(1).tolist()
    mean, low, high = sum(norms) / len(norms), min(similarity), max(similarity)
    scale = []
    for value, norm in zip(similarity, norms, strict=True):
        if row.arm == "proportional":
            scale.append(row.factor * (value - low) / (high - low))
        elif row.arm == "baseline":
            scale.append(1.0)
        else:
            selected = value > row.tau if row.arm == "similarity" else norm > mean
            scale.append(row.factor if selected else 1 / row.factor)
    return torch.tensor(scale)


def test_every_configuration_is_the_edited_network_run_again(layout, configs):
    imageset, preds = load_imageset(layout.data), np.load(layout.artifacts / "predictions.npy")
    ids = json.loads((layout.artifacts / "prediction_ids.json").read_text())
    rows, labels = imageset.evaluation_rows(), torch.tensor(imageset.labels)
    assert ids["images_digest"] == imageset.digest()
    assert ids["image_rows"] == list(rows["val_test"])
    assert preds.dtype == np.uint8
    units = pd.read_parquet(layout.artifacts / "units.parquet")
    for position, config_id in enumerate(ids["config_ids"]):
        network = load_network(layout.models / "baseline.safetensors")
        table = configs[configs.config_id == config_id].set_index("images")
        row = table.iloc[0]
        chosen = units[(units.layer == row.layer) & (units.concept_set == "expressions")]
        weight = network.model.get_submodule(row.layer).weight.detach()
        scale = plain_scale(row, chosen.sort_values("unit").similarity.tolist(), weight)
        assert (row.n_up, row.n_down) == ((scale > 1).sum(), (scale < 1).sum())
        network.model.load_state_dict(edited_state(network.model.state_dict(), row.layer, scale))
        with torch.inference_mode():
            logits = predict_logits(network.model, imageset.images)
        assert (preds[position] == logits[rows["val_test"]].argmax(-1).numpy()).mean() > 0.98
        temperature = fit_temperature(logits[rows["val"]], labels[rows["val"]])
        assert row.temperature == pytest.approx(temperature, rel=1e-3)
        for images, at in rows.items():
            expected = classification_metrics(logits[at], labels[at], CLASSES)
            assert table.loc[images, "accuracy"] == pytest.approx(expected["accuracy"], abs=1.01 / len(at))
            assert table.loc[images, "nll"] == pytest.approx(expected["nll"], rel=1e-4)
            calibrated = classification_metrics(logits[at] / temperature, labels[at], CLASSES)
            assert table.loc[images, "nll_t"] == pytest.approx(calibrated["nll"], rel=1e-4)


def test_the_grid_is_complete_and_named(layout, configs):
    layers = pd.read_parquet(layout.artifacts / "layers.parquet")
    layers = layers[(layers.concept_set == "expressions") & (layers.layer != "lin3")]
    layer = layers.loc[layers.num_interp.idxmax(), "layer"]
    assert set(configs.layer) == {layer}
    assert not configs.duplicated(["config_id", "images"]).any()
    once = configs[configs.images == "test"].set_index("config_id")
    assert once.arm.value_counts().to_dict() == {"similarity": 12, "weight_norm": 3, "proportional": 3, "baseline": 1}
    assert f"{layer}-similarity-expressions-soft_wpmi-tau+0.00-f1.50" in once.index
    assert f"{layer}-weight_norm-f3.00" in once.index
    assert (once.status[once.tau == -9.0] == "degenerate").all()
    assert (once.status[once.tau == 0.0] == "ok").all()
    assert set(configs.images) == {"val", "test", "test_noleaks", "val_test"}


def test_factor_one_is_the_baseline(configs):
    metrics = ["accuracy", "nll", "ece", "temperature"]
    baseline = configs[configs.arm == "baseline"].set_index("images")[metrics]
    for _, rows in configs[(configs.factor == 1.0) & (configs.arm == "similarity")].groupby("config_id"):
        pd.testing.assert_frame_equal(rows.set_index("images")[metrics], baseline, check_exact=True)


def test_the_edited_weights_are_the_best_on_val(layout, configs):
    val = configs[(configs.images == "val") & (configs.arm != "baseline") & (configs.status == "ok")]
    best = val[val.accuracy == val.accuracy.max()].sort_values("nll", kind="stable").iloc[0]
    before, after = (
        load_network(layout.models / f"{name}.safetensors").model.state_dict() for name in ("baseline", "edited")
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == (set() if best.factor == 1.0 and best.arm != "proportional" else {f"{best.layer}.weight"})
    imageset = load_imageset(layout.data)
    with torch.inference_mode():
        logits = predict_logits(load_network(layout.models / "edited.safetensors").model, imageset.images)
    rows = imageset.evaluation_rows()["val"]
    assert (logits[rows].argmax(-1).numpy() == imageset.labels[rows]).mean() == pytest.approx(best.accuracy, abs=0.03)


def test_unit_effects_are_networks_without_that_unit(layout, configs):
    effects = pd.read_parquet(layout.artifacts / "unit_effects.parquet")
    network, imageset = load_network(layout.models / "baseline.safetensors"), load_imageset(layout.data)
    rows, layer = imageset.evaluation_rows()["val"], configs.layer[0]
    weight, labels = network.model.get_submodule(layer).weight, torch.from_numpy(imageset.labels[rows])
    assert effects.unit.tolist() == list(range(len(weight)))
    assert set(effects.images) == {len(rows)}

    def nll():
        with torch.inference_mode():
            logits = predict_logits(network.model, imageset.images[rows])
        return classification_metrics(logits, labels, CLASSES)["nll"]

    before = nll()
    for unit in effects.delta_nll.abs().sort_values().index[-3:]:
        kept = weight.data[unit].clone()
        weight.data[unit] = 0
        assert effects.delta_nll[unit] == pytest.approx(nll() - before, abs=1e-4)
        weight.data[unit] = kept
