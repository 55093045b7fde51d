"""Thresholds of the operation range are quantiles of what units put out on train; an edit beyond them is measured."""

import edit_bench
import numpy as np
import pytest
import torch

from emobench.edits import ranges
from emobench.edits.joint import measure_joint
from emobench.edits.measuring import bench_of
from emobench.edits.ranges import RangeEdit, Where, range_of, train_values
from emobench.faces.imageset import load_imageset
from emobench.library.edits import bare_target
from emobench.networks.ranges import with_ranges
from emobench.networks.sources import load_network

DRAWS = 2


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    layout = edit_bench.write_benchmark(tmp_path_factory.mktemp("ranges"), train=24, val=30, test=30)
    return load_network(layout.models / "network"), load_imageset(layout.data)


def outputs(network, imageset, layer, rows):
    """What a layer puts out on some images, by a hook."""
    seen = []
    handle = network.model.get_submodule(layer).register_forward_hook(lambda module, args, out: seen.append(out))
    with torch.no_grad():
        network.model(network.inputs(imageset.images[rows]))
    handle.remove()
    return seen[0]


def test_values_are_what_units_put_out_on_kept_train_images(small, monkeypatch):
    network, imageset = small
    monkeypatch.setattr(ranges, "VALUES_AN_IMAGE", 25)
    monkeypatch.setattr(ranges, "BATCH", 7)
    found = train_values(network, ["conv4b", "conv3a", "lin2"], imageset, seed=0)
    rows = imageset.rows("train")
    whole = {layer: outputs(network, imageset, layer, rows) for layer in found}
    torch.testing.assert_close(found["lin2"], whole["lin2"])
    # 5 x 5 places: all of them; 10 x 10: a quarter, each of which is one of the unit's.
    torch.testing.assert_close(found["conv4b"], whole["conv4b"].movedim(1, -1).flatten(0, 2))
    some, every = found["conv3a"], whole["conv3a"].movedim(1, -1).flatten(0, 2)
    assert some.shape == (25 * len(rows), every.shape[1])
    assert (some[:50, None] - every).abs().amax(-1).amin(1).max() < 1e-5
    assert torch.equal(some, train_values(network, ["conv4b", "conv3a", "lin2"], imageset, seed=0)["conv3a"])


def test_thresholds_are_quantiles():
    values = {"lin2": torch.arange(12.0).reshape(6, 2)}
    where = range_of(["lin2"], values, Where(0.25, False))["lin2"]
    assert where.threshold.tolist() == np.quantile(values["lin2"].numpy(), 0.25, axis=0).tolist()
    assert not where.above
    with pytest.raises(ValueError, match=r"quantile is 1\.0; expected a number between 0 and 1"):
        range_of(["lin2"], values, Where(1.0, True))
    assert [str(Where(0.9, True)), str(Where(0.5, False))] == ["above0.9", "below0.5"]


def test_an_edit_beyond_thresholds_gets_its_answers_and_controls(small):
    network, imageset = small
    values = train_values(network, ["lin2"], imageset, seed=0)
    where = Where(0.5, True)
    scale = torch.where(torch.arange(256) % 3 == 0, 4.0, 1.0)
    edits = [RangeEdit("selected", 0.0, f, {"lin2": s}, range_of(["lin2"], values, where), where)
             for f, s in ((4.0, scale), (0.0, scale - scale.floor() + (scale == 1)))]  # fmt: skip
    edit = edit_bench.small_params(draws=DRAWS, layer="lin2", factors=[2.0]).edit
    bench = bench_of(network, imageset, bare_target(edit, network, "lin2"))
    found = measure_joint(bench, edits, seed=0)
    for one, answers in zip(edits, found.measured.predictions, strict=False):
        edited = with_ranges(network, one.scales, one.ranges)
        with torch.no_grad():
            assert (edited.model(bench.inputs).argmax(-1).numpy() == answers).all()
    table = found.measured.table
    rows = table[table["images"] == "val"].set_index("config_id")
    assert list(rows.index[:2]) == ["lin2-selected_above0.5-f4", "lin2-selected_above0.5-f0"]
    assert set(rows["operation"][:2]) == {"range"}
    assert rows["arm"].value_counts()[["random", "decile", "inverse", "uniform"]].tolist() == [DRAWS, DRAWS, 1, 1]
