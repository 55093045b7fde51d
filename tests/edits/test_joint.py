import dataclasses

import edit_bench
import numpy as np
import pandas as pd
import pytest
import torch

from emobench.edits.experiment import edit_target, leave_one_out
from emobench.edits.family import best_index, family
from emobench.edits.found import Found
from emobench.edits.joint import measure_joint
from emobench.edits.measuring import bench_of
from emobench.faces.imageset import load_imageset
from emobench.functional.edits import edited_state, row_norms
from emobench.networks.sources import load_network

DRAWS = 3
LAYERS = ("lin1", "lin2")
ARM = "search_descriptions_joint"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    layout = edit_bench.write_benchmark(tmp_path_factory.mktemp("joint"), val=40, test=30)
    edit = edit_bench.small_params(draws=DRAWS, layer="lin2", arms=["similarity"], factors=[1.5, 3.0]).edit
    network, imageset = load_network(layout.models / "network"), load_imageset(layout.data)
    units = pd.read_parquet(layout.artifacts / "units.parquet")
    effects = leave_one_out(edit, network, imageset, "lin2")
    target = edit_target(edit, network, imageset, "lin2", units, effects, edit_bench.speaks(layout))
    return bench_of(network, imageset, target)


@pytest.fixture(scope="module")
def found():
    generator = torch.Generator().manual_seed(1)
    scales = {layer: 0.3 + 2 * torch.rand(256, generator=generator) for layer in LAYERS}
    return [Found("descriptions", 1.0, t, {layer: one**t for layer, one in scales.items()}) for t in (0.5, 1.0, 2.0)]


@pytest.fixture(scope="module")
def joint(bench, found):
    return measure_joint(bench, found, seed=0)


def logits_of(bench, scales):
    """The oracle: weights edited layer by layer and a full forward pass."""
    state = bench.network.model.state_dict()
    for layer, scale in scales.items():
        state = edited_state(state, f"{layer}.weight", scale)
    model = type(bench.network.model)(width=0.0625).eval()
    model.load_state_dict(state)
    with torch.no_grad():
        return model(bench.inputs)


def test_edits_are_measured_on_every_image_set(bench, found, joint):
    table = joint.measured.table.set_index(["config_id", "images"])
    for position, one in enumerate(found):
        preds = logits_of(bench, one.scales).argmax(-1)
        assert joint.measured.config_ids[position] == one.config_id
        assert joint.measured.predictions[position].tolist() == preds.tolist()
        for images, at in bench.positions.items():
            row = table.loc[(one.config_id, images)]
            assert row["accuracy"] == pytest.approx((preds[at] == bench.labels[at]).double().mean().item())
            assert (row["arm"], row["layer"], row["factor"]) == (ARM, "lin1+lin2", one.exponent)


def test_the_best_on_val_is_judged(bench, found, joint):
    val = bench.positions["val"]
    every = torch.stack([logits_of(bench, one.scales) for one in found])
    accuracy = (every[:, val].argmax(-1) == bench.labels[val]).double().mean(-1).numpy()
    nll = [torch.nn.functional.cross_entropy(one[val], bench.labels[val]).item() for one in every]
    best = best_index(accuracy, np.array(nll))
    assert joint.judged == [found[best].config_id]
    torch.testing.assert_close(joint.logits, every[best : best + 1], atol=1e-4, rtol=1e-4)
    edits = joint.measured.table
    assert family(edits, bench.target.edit.paper)["config_id"].tolist() == joint.judged


def controls(joint, kind):
    table = joint.measured.table
    rows = table[(table["arm"] == kind) & (table["images"] == "val")]
    assert set(rows["control_of"]) == set(joint.judged)
    assert set(rows["criterion"]) == {ARM}
    return rows


def test_every_control_is_there(joint):
    assert [len(controls(joint, kind)) for kind in ("random", "decile")] == [DRAWS, DRAWS]
    assert [len(controls(joint, kind)) for kind in ("uniform", "inverse", "temperature")] == [1, 1, 1]
    assert len(set(joint.measured.config_ids)) == len(joint.measured.config_ids) == 3 + 2 * DRAWS + 3
    # Three edits; as many cells for each random control and the inverse; factors 1.5 and 3 and their inverses.
    assert joint.evaluated == 3 + 3 * (2 * DRAWS + 1) + 4


def test_random_controls_keep_each_layers_scales_and_differ_from_draw_to_draw(bench, found, joint):
    rows = controls(joint, "random")
    sums = {one.exponent: int((torch.cat(list(one.scales.values())) > 1).sum()) for one in found}
    assert [row["n_up"] for row in rows.to_dict("records")] == [sums[factor] for factor in rows["factor"]]
    assert rows["rows_differing"].min() > 400
    assert rows["nll"].nunique() == DRAWS


def test_deciles_change_places_among_rows_of_like_norm(bench, found):
    """A scale that is each row's decile stays as it is; a random order moves it."""
    scales = {}
    for layer in LAYERS:
        ranks = (
            row_norms(bench.network.model.get_submodule(layer).weight.detach())
            .argsort(stable=True)
            .argsort(stable=True)
        )
        scales[layer] = 1.0 + (ranks * 10 // len(ranks)) / 10
    result = measure_joint(bench, [Found("descriptions", 1.0, 1.0, scales)], seed=0)
    assert set(controls(result, "decile")["rows_differing"]) == {0}
    assert controls(result, "random")["rows_differing"].min() > 300
    # One cell each: nothing to choose, so that only the uniform factors were tried besides.
    assert result.evaluated == 1 + 2 * DRAWS + 1 + 4


def test_uniform_and_inverse_and_temperature_are_what_they_say(bench, found, joint):
    val, by_id = bench.positions["val"], {one.config_id: one for one in found}
    edit = by_id[joint.judged[0]]
    inverse = controls(joint, "inverse").iloc[0]
    exponent = next(one for one in found if one.exponent == inverse["factor"])
    expected = logits_of(bench, {layer: 1 / scale for layer, scale in exponent.scales.items()})
    assert inverse["accuracy"] == pytest.approx((expected[val].argmax(-1) == bench.labels[val]).double().mean().item())
    uniform = controls(joint, "uniform").iloc[0]
    assert uniform["factor"] in (1.5, 3.0, 1 / 1.5, 1 / 3)
    expected = logits_of(bench, {layer: torch.full((256,), uniform["factor"]) for layer in edit.scales})
    assert uniform["nll"] == pytest.approx(
        torch.nn.functional.cross_entropy(expected[val], bench.labels[val]).item(), rel=1e-4
    )
    assert controls(joint, "temperature")["temperature"].iloc[0] == pytest.approx(1.0, rel=1e-3)


def test_the_seed_decides_the_draws_alone(bench, found, joint):
    again, other = measure_joint(bench, found, seed=0), measure_joint(bench, found, seed=1)
    pd.testing.assert_frame_equal(again.measured.table, joint.measured.table)
    same = joint.measured.table["arm"] == ARM
    pd.testing.assert_frame_equal(other.measured.table[same], joint.measured.table[same])
    assert not np.allclose(controls(other, "random")["nll"], controls(joint, "random")["nll"])


def test_nothing_found_and_no_controls_asked_for(bench, found):
    assert measure_joint(bench, [], seed=0) is None
    edit = dataclasses.replace(bench.target.edit, controls=dataclasses.replace(bench.target.edit.controls, draws=0))
    plain = dataclasses.replace(bench, target=dataclasses.replace(bench.target, edit=edit))
    assert measure_joint(plain, found, seed=0).measured.config_ids == [one.config_id for one in found]
