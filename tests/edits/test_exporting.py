import dataclasses
import json
import re

import edit_bench
import numpy as np
import pandas as pd
import pytest
import torch

from emobench.edits.exporting import export_network
from emobench.errors import UserError
from emobench.files import write_array, write_parquet
from emobench.stages import edit
from emobench.weights import read_state

ARMS = ["similarity", "proportional", "weight_norm", "effect", "fdr"]
PARAMS = edit_bench.small_params(arms=ARMS, operations=["rows", "rows_bias", "zero", "mean"])


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    layout = edit_bench.write_benchmark(tmp_path_factory.mktemp("export"))
    edit.run(PARAMS, layout)
    return layout


@pytest.fixture(scope="module")
def configs(layout):
    return pd.read_parquet(layout.artifacts / "configs.parquet").query("images == 'val'").set_index("config_id")


def state(path):
    return read_state(path, "params")


@pytest.mark.slow
def test_every_arm_and_operation_answers_as_predicted(layout, configs, tmp_path) -> None:
    ids = json.loads((layout.artifacts / "prediction_ids.json").read_text())
    some = configs.drop_duplicates(["arm", "operation"]).index
    assert {configs.arm[name] for name in some} == {"baseline", *ARMS}
    assert {configs.operation[name] for name in some} == {"rows", "rows_bias", "zero", "mean"}
    before = state(layout.models / "network" / "weights.safetensors")
    for name in some:
        done = export_network(PARAMS, layout, name, tmp_path / "x.safetensors")
        assert (done.config_id, done.images) == (name, len(ids["image_rows"]))
        assert done.near_ties <= 1
        after, layer = state(tmp_path / "x.safetensors"), configs.layer[name]
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        bias = {f"{layer}.bias"} if configs.operation[name] != "rows" else set()
        assert changed <= {f"{layer}.weight"} | bias
        rows = after[f"{layer}.weight"].flatten(1).abs().sum(1) / before[f"{layer}.weight"].flatten(1).abs().sum(1)
        assert ((rows > 1.0001).sum(), (rows < 0.9999).sum()) == (configs.n_up[name], configs.n_down[name])


def test_names_for_the_baseline_the_chosen_and_the_papers_edit(layout, configs, tmp_path) -> None:
    path = tmp_path / "deep" / "er.safetensors"
    assert export_network(PARAMS, layout, "baseline", path, check=False).images == 0
    before = state(layout.models / "network" / "weights.safetensors")
    assert all(torch.equal(before[key], value) for key, value in state(path).items())
    export_network(PARAMS, layout, "chosen", path)
    edited = state(layout.models / "edited.safetensors")
    assert all(torch.equal(edited[key], value) for key, value in state(path).items())
    paper = export_network(PARAMS, layout, "paper", path, check=False).config_id
    assert (configs.arm[paper], configs.tau[paper], configs.factor[paper]) == ("similarity", 0.0, 1.5)


def test_an_edit_that_the_seed_would_make_by_hand(layout, configs, tmp_path) -> None:
    name = configs[(configs.arm == "similarity") & (configs.tau == 0.5) & (configs.factor == 3.0)].index[0]
    export_network(PARAMS, layout, name, tmp_path / "x.safetensors")
    layer, units = configs.layer[name], pd.read_parquet(layout.artifacts / "units.parquet")
    units = units[(units.layer == layer) & (units.concept_set == "expressions")].sort_values("unit")
    weight = state(layout.models / "network" / "weights.safetensors")[f"{layer}.weight"]
    for unit, similarity in enumerate(units.similarity):
        weight[unit] *= 3.0 if similarity > 0.5 else 1 / 3.0
    torch.testing.assert_close(state(tmp_path / "x.safetensors")[f"{layer}.weight"], weight)


def test_mistakes_are_told_before_any_work(layout, configs, tmp_path) -> None:
    with pytest.raises(UserError, match=r"x.pt is no .safetensors file"):
        export_network(PARAMS, layout, "baseline", tmp_path / "x.pt")
    with pytest.raises(UserError, match="unknown configuration 'nix'; known: baseline, chosen, paper, "):
        export_network(PARAMS, layout, "nix", tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="unknown configuration .norm-f.; known: baseline, chosen, paper, .*norm-f1.00"):
        export_network(PARAMS, layout, "norm-f", tmp_path / "x.safetensors")
    fewer = dataclasses.replace(PARAMS, edit=dataclasses.replace(PARAMS.edit, factors=[1.5]))
    name = configs[(configs.arm == "weight_norm") & (configs.factor == 3.0)].index[0]
    with pytest.raises(UserError, match=f"params.yaml describes no configuration {name} any more"):
        export_network(fewer, layout, name, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="no .*configs.parquet; run the stage 'edit' first"):
        export_network(PARAMS, dataclasses.replace(layout, root=tmp_path), "baseline", tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_controls_are_no_edits(layout, configs, tmp_path) -> None:
    table, path = pd.read_parquet(layout.artifacts / "configs.parquet"), layout.artifacts / "configs.parquet"
    control = table.tail(4).assign(config_id="random-007", control_of=configs.index[1])
    try:
        write_parquet(path, pd.concat([table, control]))
        with pytest.raises(
            UserError, match=f"random-007 is a control of {re.escape(configs.index[1])}; expected an edit"
        ):
            export_network(PARAMS, layout, "random-007", tmp_path / "x.safetensors")
    finally:
        write_parquet(path, table)


def test_other_answers_are_refused_and_what_was_there_stays(layout, tmp_path) -> None:
    path, predictions = tmp_path / "x.safetensors", layout.artifacts / "predictions.npy"
    path.write_text("mine")
    kept = np.load(predictions)
    changed = kept.copy()
    changed[:, :3] = (changed[:, :3] + 3) % 7
    try:
        write_array(predictions, changed)
        with pytest.raises(UserError, match="the exported network answers 3 of 90 images otherwise"):
            export_network(PARAMS, layout, "paper", path)
        assert path.read_text() == "mine"
        assert export_network(PARAMS, layout, "paper", path, check=False).images == 0
    finally:
        write_array(predictions, kept)
    assert [one.name for one in tmp_path.iterdir()] == ["x.safetensors"]
