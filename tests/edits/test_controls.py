import json

import edit_bench
import numpy as np
import pandas as pd
import pytest
import torch
from small_network import inputs_of

from emobench.edits.controls import accompanied, norm_deciles, random_searches, shuffled, single_searches
from emobench.edits.experiment import edit_target, leave_one_out
from emobench.edits.target import Configuration
from emobench.faces.imageset import load_imageset
from emobench.networks.sources import load_network
from emobench.stages import compare, edit

DRAWS = 8
PARAMS = edit_bench.small_params(
    draws=DRAWS,
    layer="lin2",
    arms=["similarity", "weight_norm", "description"],
    taus=[-0.5, 0.5],
    factors=[1.5, 3.0],
    lone_factors=[0.0, 2.0],
    concepts=["smile", "frown", "closed eyes"],
)


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    layout = edit_bench.write_benchmark(tmp_path_factory.mktemp("controls"), val=40, test=40)
    edit.run(PARAMS, layout)
    return layout


@pytest.fixture(scope="module")
def configs(layout):
    return pd.read_parquet(layout.artifacts / "configs.parquet")


@pytest.fixture(scope="module")
def lin2(layout):
    """What lin2 gets from the val and the test images, its and lin3's parameters, mean outputs, and the unit table."""
    network, imageset = load_network(layout.models / "network"), load_imageset(layout.data)
    model = network.model.requires_grad_(False)
    sets = imageset.evaluation_rows()
    inputs = {name: inputs_of(model, "lin2", network.inputs(imageset.images[rows])) for name, rows in sets.items()}
    labels = {name: torch.from_numpy(imageset.labels[rows]) for name, rows in sets.items()}
    train = inputs_of(model, "lin2", network.inputs(imageset.images[imageset.rows("train")]))
    units = pd.read_parquet(layout.artifacts / "units.parquet")
    units = units[(units.layer == "lin2") & (units.concept_set == "expressions")].sort_values("unit")
    return model, inputs, labels, model.lin2(train).mean(0), units


def measured(lin2, cell, images):
    """Accuracy and NLL of a cell (scale, operation) on an image set, by the layers' own arithmetic."""
    model, inputs, labels, mean, _ = lin2
    scale, operation = cell
    shift = model.lin2.bias if operation == "rows" else scale * model.lin2.bias
    if operation == "mean":
        shift = torch.where(scale == 0, mean, model.lin2.bias)
    outputs = (inputs[images] @ model.lin2.weight.T) * scale + shift
    logits = model.lin3(outputs.relu())
    nll = torch.nn.functional.cross_entropy(logits.double(), labels[images])
    return float((logits.argmax(-1) == labels[images]).double().mean()), float(nll)


def cells_of(lin2, arm):
    """(scale, operation, tau, factor) of the arm's cells, in the order they are tried."""
    model, units = lin2[0], lin2[4]
    similarity, norms = torch.tensor(units.similarity.to_numpy()), model.lin2.weight.abs().sum(1)
    if arm == "similarity":
        grid = [(tau, factor) for factor in (1.5, 3.0) for tau in (-0.5, 0.5)] + [(0.0, 1.5)]
        return [(torch.where(similarity > tau, f, 1 / f), "rows", tau, f) for tau, f in grid]
    if arm == "paper":
        return [(torch.where(similarity > 0, 1.5, 1 / 1.5), "rows", 0.0, 1.5)]
    if arm == "weight_norm":
        return [(torch.where(norms > norms.mean(), f, 1 / f), "rows", np.nan, f) for f in (1.5, 3.0)]
    chosen = torch.tensor(units.description.isin(["smile", "frown", "closed eyes"]).to_numpy())
    cells = [(torch.where(chosen, f, 1.0), op, np.nan, f) for op in ("rows", "rows_bias") for f in (0.0, 2.0)]
    return cells + [(torch.where(chosen, 0.0, 1.0), op, np.nan, np.nan) for op in ("zero", "mean")]


def permutation(lin2, kind, draw):
    rng = np.random.default_rng((PARAMS.seed, ["random", "decile"].index(kind), draw))
    if kind == "random":
        return rng.permutation(256)
    norms, order = lin2[0].lin2.weight.abs().sum(1).tolist(), np.arange(256)
    ranked = sorted(range(256), key=norms.__getitem__)
    for decile in range(10):
        members = sorted(unit for rank, unit in enumerate(ranked) if rank * 10 // 256 == decile)
        order[members] = rng.permutation(members)
    return order


def changed(lin2, name, kind, draw):
    """The cells that a control of this kind chooses from."""
    cells = cells_of(lin2, name)
    if kind in ("random", "decile"):
        order = permutation(lin2, kind, draw)
        return [(scale[order], *rest) for scale, *rest in cells]
    if kind == "inverse":
        return [(torch.where(scale == 0, 1.0, 1 / scale), *rest) for scale, *rest in cells]
    factors = [f for f in dict.fromkeys(cell[3] for cell in cells) if f > 0]
    operations = ["rows", "rows_bias"] if name == "description" else ["rows"]
    each = [(op, value) for op in operations for f in factors for value in (f, 1 / f)]
    return [(torch.full((256,), value), op, np.nan, value) for op, value in each]


@pytest.mark.parametrize("name", ["similarity", "weight_norm", "description", "paper"])
def test_controls_as_plain_loops(lin2, configs, name):
    own = configs[(configs.criterion == name) & configs.control_of.notna()]
    val, test = (own[own.images == images].set_index("config_id") for images in ("val", "test"))
    assert val.arm.value_counts().to_dict() == {"random": DRAWS, "decile": DRAWS} | dict.fromkeys(
        ["uniform", "inverse", "temperature"], 1
    )
    (edit_id,) = set(own.control_of)
    edited = configs[(configs.config_id == edit_id) & (configs.images == "val")].iloc[0]
    for row in val[val.arm != "temperature"].itertuples():
        candidates = changed(lin2, name, row.arm, int(row.seed) if row.seed >= 0 else None)
        results = [measured(lin2, cell[:2], "val") for cell in candidates]
        best = 0
        for index, (accuracy, nll) in enumerate(results):
            if (accuracy, -nll) > (results[best][0], -results[best][1]):
                best = index
        scale, operation, tau, factor = candidates[best]
        said = {"operation": row.operation, "tau": row.tau, "factor": row.factor}
        assert said == pytest.approx({"operation": operation, "tau": tau, "factor": factor}, nan_ok=True)
        assert row.accuracy == pytest.approx(results[best][0])
        assert test.accuracy[row.Index] == pytest.approx(measured(lin2, candidates[best][:2], "test")[0])
        assert (row.n_up, row.n_down) == (int((scale > 1).sum()), int((scale < 1).sum()))
        if edited.operation == operation == "rows":
            (original,) = (
                cell[0] for cell in cells_of(lin2, name)
                if cell[1:] == pytest.approx(("rows", edited.tau, edited.factor), nan_ok=True)
            )  # fmt: skip
            differing = sum(a != b for a, b in zip(original.tolist(), scale.tolist(), strict=True))
            assert row.rows_differing == differing


def test_temperature_changes_confidence_alone(layout, configs):
    ids = json.loads((layout.artifacts / "prediction_ids.json").read_text())["config_ids"]
    preds = np.load(layout.artifacts / "predictions.npy")
    baseline = configs[configs.arm == "baseline"].set_index("images")
    for config_id, rows in configs[configs.arm == "temperature"].groupby("config_id"):
        own = rows.set_index("images")
        assert np.array_equal(preds[ids.index(config_id)], preds[0])
        np.testing.assert_allclose(own.nll, baseline.nll_t[own.index], rtol=1e-5)
        np.testing.assert_allclose(own.ece, baseline.ece_t[own.index], rtol=1e-4, atol=1e-5)
        assert (own.accuracy == baseline.accuracy[own.index]).all()
        np.testing.assert_allclose(own.temperature, 1, rtol=1e-3)


def test_rows_predictions_and_counts_agree(layout, configs):
    ids = json.loads((layout.artifacts / "prediction_ids.json").read_text())
    once = configs.drop_duplicates("config_id")
    assert ids["config_ids"] == once.config_id.tolist()
    assert not configs.duplicated(["config_id", "images"]).any()
    preds, imageset = np.load(layout.artifacts / "predictions.npy"), load_imageset(layout.data)
    at = np.searchsorted(ids["image_rows"], imageset.evaluation_rows()["test"])
    right = (preds[:, at] == imageset.labels[imageset.evaluation_rows()["test"]]).mean(1)
    np.testing.assert_allclose(right, configs[configs.images == "test"].accuracy)
    assert "lin2-similarity-random-007" in set(once.config_id)
    assert set(once.seed[once.arm == "decile"]) == set(range(DRAWS))
    # Cells a draw: 5 (the published one among them), 2, and 6 of which rows_bias by 0 is the same as zero.
    searched = 2 * DRAWS * (5 + 2 + 5)
    uniform = 4 + 4  # by 1.5 and 3, by 2 with and without bias, and their inverses
    inverse = 5 + 2 + 4  # of the last two of each: by 0.5, and all rows left alone
    assert ids["evaluated"] == 1 + 13 + searched + uniform + inverse


def test_the_edit_is_chosen_among_edits(layout, configs):
    compare.run(PARAMS, layout)
    table = pd.read_parquet(layout.artifacts / "verdicts.parquet")
    table = table[table.selected_on != "cross_fitted"]  # a way of choosing, no edit
    assert set(table.config_id) <= set(configs.config_id[configs.control_of.isna()])
    assert table.control_p.between(1 / (1 + DRAWS), 1).all()
    for row in table.itertuples():
        name = "paper" if row.selected_on == "paper" else row.arm
        own = configs[(configs.images == row.images) & (configs.criterion == name) & configs.control_of.notna()]
        ranks, below, differing = [], [], []
        for kind in ("random", "decile"):
            values = own.accuracy[own.arm == kind].tolist()
            ranks.append((1 + sum(value >= row.accuracy for value in values)) / (1 + len(values)))
            below.append(100 * sum(value < row.accuracy for value in values) / len(values))
            differing += own.rows_differing[own.arm == kind].tolist()
        assert row.control_p == pytest.approx(max(ranks))
        assert row.control_percentile == pytest.approx(min(below))
        assert row.rows_differing == pytest.approx(sum(differing) / len(differing))
        assert row.uniform_accuracy == own.accuracy[own.arm == "uniform"].iloc[0]


def written(layout):
    names = ("configs.parquet", "predictions.npy", "prediction_ids.json", "family_logits.npy", "unit_effects.parquet")
    return [(layout.artifacts / name).read_bytes() for name in names]


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    layout = edit_bench.write_benchmark(tmp_path, val=12, test=8)
    options = {"layer": "lin2", "arms": ["similarity"], "taus": [0.0], "factors": [3.0], "draws": 3}
    params = edit_bench.small_params(**options)
    edit.run(params, layout)
    first = written(layout)
    edit.run(params, layout)
    assert written(layout) == first


def test_another_seed_or_draw_is_another_permutation(layout):
    target = target_of(layout, draws=2)
    scale = torch.arange(256.0)
    cell = Configuration("one", "free", scale)
    found = [
        one.cells[0].scale.tolist()
        for seed in (0, 1)
        for kind in ("random", "decile")
        for one in random_searches(target, "free", cell, [cell], kind, range(2), seed=seed)
    ]
    assert len({tuple(order) for order in found}) == 8
    assert all(sorted(order) == scale.tolist() for order in found)


def test_units_change_places_within_their_group():
    weight = torch.randn(37, 3, generator=torch.Generator().manual_seed(0))
    groups = norm_deciles(weight)
    norms = weight.abs().sum(1).numpy()
    assert np.bincount(groups).tolist() == [4, 4, 4, 3, 4, 4, 3, 4, 4, 3]
    for decile in range(9):
        assert norms[groups == decile].max() <= norms[groups == decile + 1].min()
    order = shuffled(groups, np.random.default_rng(0))
    assert sorted(order) == list(range(37))
    assert (groups[order] == groups).all()
    assert (order != np.arange(37)).any()


def target_of(layout, **options):
    network, imageset = load_network(layout.models / "network"), load_imageset(layout.data)
    params = edit_bench.small_params(layer="lin2", arms=["description"], **options)
    effects = leave_one_out(params.edit, network, imageset, "lin2")
    return edit_target(
        params.edit,
        network,
        imageset,
        "lin2",
        pd.read_parquet(layout.artifacts / "units.parquet"),
        effects,
        edit_bench.speaks(layout),
    )


def test_controls_of_an_arm_without_factors(layout):
    target = target_of(layout, draws=1, operations=["zero"], factors=[2.0])
    edit = target.selection("description", torch.arange(256) < 9, None, operation="zero", divided=False)
    found = {one.control.arm: one.cells for one in single_searches(target, "description", edit, [edit])}
    assert [set(cell.scale.tolist()) for cell in found["uniform"]] == [{2.0}, {0.5}]
    assert {cell.operation for cell in found["uniform"]} == {"rows_bias"}
    (drawn,) = random_searches(target, "description", edit, [edit], "random", [0], seed=0)
    (random,) = drawn.cells
    assert random.scale.sum() == edit.scale.sum()
    assert not torch.equal(random.scale, edit.scale)
    assert torch.equal(random.shift, random.scale * target.bias)


def test_a_search_has_exponents_so_its_uniform_control_tries_the_papers_factors(layout):
    target = target_of(layout, draws=1, factors=[2.0, 4.0])
    scale = torch.rand(256, generator=torch.Generator().manual_seed(0))
    edit = Configuration("free", "search_free", scale, criterion="free:penalty1", factor=0.5)
    found = {one.control.arm: one.cells for one in single_searches(target, "search_free", edit, [edit])}
    assert [set(cell.scale.tolist()) for cell in found["uniform"]] == [{2.0}, {0.5}, {4.0}, {0.25}]


def test_members_bring_the_cells_they_were_chosen_from():
    ones = torch.ones(3)
    configs = [Configuration(name, name[0], ones, status) for name, status in
               (("a1", "ok"), ("a2", "degenerate"), ("a3", "ok"), ("b1", "ok"))]  # fmt: skip
    members = pd.DataFrame({"config_id": ["a3", "b1", "a1"], "selected_on": ["val", "val", "paper"]})
    found = accompanied(members, configs)
    named = {name: [one.config_id for one in some] for name, some in found.items()}
    assert named == {"a": ["a3", "a1", "a3"], "b": ["b1", "b1"], "paper": ["a1", "a1"]}
