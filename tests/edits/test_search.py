import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
import torch
from edit_bench import small_params, write_benchmark
from sklearn.model_selection import GroupKFold

from emobench.edits.found import Found
from emobench.edits.search import groups_of, run_search, search_edits, search_images
from emobench.errors import UserError
from emobench.faces.imageset import ImageSet, load_imageset
from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import classification_metrics
from emobench.networks.sources import load_network
from emobench.networks.vggnet import LAYERS
from emobench.settings.data import Augment
from emobench.sweeps.scaled import ScaledNetwork, search_scales
from emobench.vocabulary.class_names import BASIC

SEARCH = {
    "kinds": ["descriptions"],
    "split": "val",
    "joint": [],
    "joint_kinds": [],
    "augment": False,
    "images": 0,
    "penalties": [0.01, 1.0],
    "exponents": [0.5, 2.0],
    "folds": 3,
    "steps": 4,
    "batch_size": 16,
    "learning_rate": 0.1,
}
DESCENT = {name: SEARCH[name] for name in ("steps", "batch_size", "learning_rate")} | {"seed": 0}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    layout = write_benchmark(tmp_path_factory.mktemp("bench"), train=24)
    units = pd.read_parquet(layout.artifacts / "units.parquet")
    words = np.array(["frown", "smile", "tearful eyes"])
    units["description"] = words[np.arange(len(units)) % 3]
    return load_network(layout.models / "network"), load_imageset(layout.data), units


def edit_of(**changes):
    params = small_params()
    search = dataclasses.replace(params.edit.search, **(SEARCH | changes))
    return dataclasses.replace(params.edit, search=search)


def search(bench, layers=("lin2",), imageset=None, seed=0, **changes):
    network, images, units = bench
    edit = edit_of(**changes)
    allowed = search_images(edit.search, network, imageset or images, seed=seed)
    return search_edits(edit, network, allowed, layers, edit.search.kinds, units, seed=seed)


def tables(units, *layers):
    kept = units[units["concept_set"] == "expressions"]
    return {layer: kept[kept["layer"] == layer].sort_values("unit", ignore_index=True) for layer in layers}


@pytest.mark.parametrize("split", ["train", "val"])
def test_only_kept_images_of_the_split_are_handed_out(bench, split):
    network, imageset, _ = bench
    found = search_images(edit_of(split=split).search, network, imageset, seed=0)
    kept = ((imageset.index["split"] == split) & (imageset.index["status"] == "kept")).to_numpy()
    assert torch.equal(found.inputs, network.inputs(imageset.images[kept]))
    assert found.labels.tolist() == imageset.index["label"][kept].tolist()


def test_a_limit_draws_some_of_the_images(bench):
    network, imageset, _ = bench
    every, some, other = (
        search_images(edit_of(images=images).search, network, imageset, seed=seed)
        for images, seed in ((0, 0), (10, 0), (10, 1))
    )
    assert len(some.labels) == len(some.inputs) == len(some.copies) == 10
    assert all((every.inputs == one).flatten(1).all(1).any() for one in some.inputs)
    assert not torch.equal(some.inputs, other.inputs)


def test_images_of_other_splits_change_nothing(bench):
    imageset = bench[1]
    others = (imageset.index["split"] != "val").to_numpy()
    pixels, index = np.array(imageset.images), imageset.index.copy()
    pixels[others] = 255 - pixels[others]
    index.loc[others, "label"] = (index.loc[others, "label"] + 1) % 7
    (first, tried), (second, again) = search(bench), search(bench, imageset=ImageSet(pixels, index))
    assert first[0].scales["lin2"].numpy().tobytes() == second[0].scales["lin2"].numpy().tobytes()
    pd.testing.assert_frame_equal(tried, again)


def test_copies_of_a_picture_are_told_apart_from_others(bench):
    network, imageset, _ = bench
    rows, index = imageset.rows("val"), imageset.index.copy()
    index.loc[rows[5], "duplicate_of"] = index.loc[rows[2], "image_id"]
    index.loc[rows[[7, 8]], "duplicate_of"] = "elsewhere/1"
    copies = search_images(edit_of().search, network, ImageSet(imageset.images, index), seed=0).copies
    assert copies[5] == copies[2]
    assert copies[7] == copies[8]
    assert len(set(copies.tolist())) == len(rows) - 2


def test_units_are_tied_by_kind_over_all_layers(bench):
    units = tables(bench[2], "lin1", "lin2")
    free = groups_of("free", units, 0.0)
    assert torch.cat(list(free.values())).tolist() == list(range(512))
    described = groups_of("descriptions", units, 0.0)
    for number in range(3):
        words = [units[layer]["description"][(described[layer] == number).numpy()] for layer in units]
        assert len(set(pd.concat(words))) == 1
    apart = groups_of("descriptions_by_layer", units, 0.0)
    assert sorted(set(apart["lin1"].tolist())) == [0, 1, 2]
    assert torch.equal(apart["lin1"], described["lin1"])
    assert torch.equal(apart["lin2"], described["lin2"] + 3)
    numbers = torch.cat(list(groups_of("interpretable_by_layer", units, 0.3).values()))
    assert len(numbers.unique()) == 4
    high = groups_of("interpretable", units, 0.3)
    assert all(high[layer].tolist() == (units[layer]["similarity"] > 0.3).astype(int).tolist() for layer in units)


def test_scores_are_of_images_that_the_scales_were_not_fitted_on(bench):
    """A plain loop over folds, penalties and exponents as the oracle."""
    network, imageset, units = bench
    images = search_images(edit_of().search, network, imageset, seed=0)
    (found,), tried = search(bench)
    groups = groups_of("descriptions", tables(units, "lin2"), 0.0)
    scaled = ScaledNetwork(network.model, ["lin2"], images.inputs, memory_gib=1.0)
    folds = list(GroupKFold(3, shuffle=True, random_state=0).split(images.copies, groups=images.copies))
    rows = []
    for penalty in SEARCH["penalties"]:
        for exponent in [0.0, *SEARCH["exponents"]]:
            logits = torch.full((len(images.labels), 7), float("nan"))
            for fitted, scored in folds:
                assert not set(images.copies[fitted]) & set(images.copies[scored])
                scale = search_scales(scaled, images.labels, fitted, groups, penalty=penalty, **DESCENT)["lin2"]
                logits[scored] = scaled.all_logits({"lin2": scale**exponent}, scored)
            scores = classification_metrics(logits / fit_temperature(logits, images.labels), images.labels, BASIC)
            rows.append((penalty, exponent, scores["nll"], scores["accuracy"]))
    expected = pd.DataFrame(rows, columns=["penalty", "exponent", "nll_t", "accuracy"])
    pd.testing.assert_frame_equal(tried[expected.columns], expected, rtol=1e-5)
    assert set(tried["kind"]) == {"descriptions"}
    assert set(tried["layers"]) == {"lin2"}
    # Then the best penalty and exponent, fitted on all of val.
    best = max((row for row in rows if row[1] > 0), key=lambda row: (row[3], -row[2]))
    assert (found.penalty, found.exponent) == best[:2]
    assert type(found.penalty) is type(found.exponent) is float
    scale = search_scales(
        scaled, images.labels, np.arange(len(images.labels)), groups, penalty=found.penalty, **DESCENT
    )
    assert torch.equal(found.scales["lin2"], scale["lin2"] ** found.exponent)


def test_on_train_every_penalty_and_exponent_is_a_configuration(bench):
    found, tried = search(bench, split="train", kinds=["free", "interpretable"])
    configurations = [one.configuration() for one in found]
    assert len({one.config_id for one in configurations}) == len(configurations) == 8 == len(tried)
    assert [one.arm for one in configurations] == ["search_free"] * 4 + ["search_interpretable"] * 4
    assert [one.factor for one in configurations] == [0.5, 2.0] * 4
    weak, strong = (one.scale for one in configurations[:2])
    torch.testing.assert_close(weak**4, strong)
    assert len(weak.unique()) > 100
    assert all(len(one.scale.unique()) == 2 for one in configurations[4:])
    assert [one.criterion for one in configurations[::2]] == [
        "free:penalty0.01", "free:penalty1", "interpretable:penalty0.01", "interpretable:penalty1"
    ]  # fmt: skip
    assert {one.status for one in configurations} == {"ok"}
    assert configurations[0].config_id == "lin2-search_free-penalty0.01-f0.50"


def test_several_layers_are_searched_together(bench):
    (found,), tried = search(bench, layers=["lin2", "lin1"])
    assert list(found.scales) == ["lin1", "lin2"]
    assert found.arm == "search_descriptions_joint"
    assert found.config_id.startswith("lin1+lin2-search_descriptions_joint-penalty")
    assert set(tried["layers"]) == {"lin1+lin2"}
    assert len(torch.cat(list(found.scales.values())).unique()) == 3
    assert torch.equal(found.configuration().scale, torch.cat([found.scales["lin1"], found.scales["lin2"]]))


def test_all_searches_of_params_are_made(bench):
    network, imageset, units = bench
    edit = edit_of(joint=["lin1", "lin2"], joint_kinds=["interpretable"], penalties=[1.0], exponents=[1.0])
    found, tried = run_search(edit, network, imageset, "conv4b", units, seed=0)
    assert [one.arm for one in found] == ["search_descriptions", "search_interpretable_joint"]
    assert [list(one.scales) for one in found] == [["conv4b"], ["lin1", "lin2"]]
    assert tried["layers"].tolist() == ["conv4b"] * 2 + ["lin1+lin2"] * 2
    assert tried["exponent"].tolist() == [0.0, 1.0] * 2
    none, empty = run_search(edit_of(kinds=[]), network, imageset, "lin2", units, seed=0)
    assert (none, len(empty)) == ([], 0)
    assert list(empty) == list(tried)


def test_all_layers_can_be_searched_together_on_pictures_as_training_shows_them(bench):
    network, imageset, units = bench
    asked = {"kinds": [], "joint": "all", "joint_kinds": ["interpretable_by_layer"], "split": "train", "steps": 2}
    asked |= {"penalties": [1.0], "exponents": [1.0]}
    moved = Augment(degrees=20.0, translate=0.1, scale=0.1, flip=0.5, erase=0.0)
    still, same, changed = (
        run_search(edit_of(**asked, augment=augment), network, imageset, "lin2", units, seed=0, augment=given)[0][0]
        for augment, given in ((False, None), (False, moved), (True, moved))
    )
    assert list(still.scales) == [card.name for card in network.card.editable] == list(LAYERS[:-1])
    assert len(torch.cat(list(still.scales.values())).unique()) == 2 * len(still.scales)
    assert torch.equal(still.configuration().scale, same.configuration().scale)
    assert not torch.equal(still.configuration().scale, changed.configuration().scale)


def test_the_same_seed_finds_the_same_and_another_does_not(bench):
    (first,), (again,), (other,) = (search(bench, seed=seed)[0] for seed in (0, 0, 1))
    assert first.scales["lin2"].numpy().tobytes() == again.scales["lin2"].numpy().tobytes()
    assert first.scales["lin2"].numpy().tobytes() != other.scales["lin2"].numpy().tobytes()


def test_one_scale_for_all_is_degenerate():
    one = Found("interpretable", 1.0, 1.0, {"lin2": torch.full((4,), 1.2)})
    assert one.configuration().status == "degenerate"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": 1000}, "edit.search.folds is 1000, but there are only 34 pictures"),
        ({"layers": ["lin7"]}, "lin7"),
    ],
)
def test_a_search_that_cannot_be_made_says_why(bench, changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        search(bench, **changes)
