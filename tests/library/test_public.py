"""What ``import emobench`` offers: quick to import, described, and held against what the stages find."""

import doctest
import inspect
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

import emobench
from emobench.errors import UserError
from emobench.faces.imageset import load_imageset
from emobench.networks.activations import load_activations
from emobench.networks.sources import load_network


def test_importing_it_loads_nothing_heavy_and_names_are_there_when_asked_for() -> None:
    code = "import sys, emobench; assert not {'torch', 'numpy', 'pandas', 'sklearn'} & set(sys.modules), sys.modules; "
    code += "print(set(emobench.__all__) <= set(dir(emobench)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    for name in emobench.__all__:
        assert getattr(emobench, name) is not None
        assert name == "__version__" or inspect.getdoc(getattr(emobench, name)), name
    with pytest.raises(AttributeError, match="no attribute 'nix'"):
        emobench.nix  # noqa: B018


@pytest.mark.slow
def test_the_packages_own_example_runs() -> None:
    failed, tried = doctest.testmod(emobench)
    assert (failed, tried >= 8) == (0, True)


@pytest.fixture(scope="module")
def seen(real):
    """A benchmark's image set, network, probe and concepts, as the stages left them."""
    params, layout = real
    faces = load_imageset(layout.data)
    return params, layout, faces, load_network(layout.models / "network"), faces.probe_rows("train_unique")


def test_record_gives_what_the_stage_recorded(seen) -> None:
    _, layout, faces, network, rows = seen
    found = emobench.record(network, faces.images[rows], ["conv1a", "lin2"])
    assert list(found) == ["conv1a", "lin2"]
    for layer, values in found.items():
        wanted = load_activations(layout.artifacts / "activations", layer, faces.digest(), rows)
        torch.testing.assert_close(values, wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="unknown layer 'lin9'; known: conv1a"):
        emobench.record(network, faces.images[:2], ["lin9"])


def test_the_dissector_finds_what_the_stage_found(seen) -> None:
    params, layout, faces, _, rows = seen
    from emobench.concepts.embeddings import load_concept_scores
    from emobench.vocabulary.card import load_vocabulary

    vocabulary = load_vocabulary(layout.data)
    _, sets = load_concept_scores(layout.artifacts, faces.digest(), vocabulary)
    scored = next(one for one in sets if one.name == "expressions")
    activations = load_activations(layout.artifacts / "activations", "lin2", faces.digest(), rows)
    options = {"null_draws": params.dissect.null_draws, "options": {"top_k": params.dissect.soft_wpmi.top_k}}
    dissector = clone(emobench.Dissector("soft_wpmi", seed=params.seed, **options))
    speaks = vocabulary.speaks("expressions")
    known = {"labels": faces.labels[rows], "classes": faces.classes, "concept_classes": speaks}
    found = dissector.fit(activations, pd.DataFrame(scored.scores[rows], columns=scored.concepts), **known).units_
    units = pd.read_parquet(layout.artifacts / "units.parquet")
    wanted = units[(units.layer == "lin2") & (units.concept_set == "expressions")].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, wanted[list(found)], check_dtype=False, rtol=1e-6)
    assert dissector.get_params()["seed"] == params.seed


@pytest.mark.parametrize(
    ("changes", "fitted", "message"),
    [
        ({"similarity_fn": "dot"}, {}, "unknown similarity function 'dot'; known: soft_wpmi"),
        ({"options": {"top": 3}}, {}, "unknown option 'top' of soft_wpmi; known: top_k"),
        ({"similarity_fn": "cos_similarity", "options": {"a": 1}}, {}, "cos_similarity has no options; got a"),
        ({}, {"concepts": ["smile"]}, "1 concepts are named for 2 columns"),
        ({}, {"labels": np.zeros(3)}, "activations have 9 images, concept_scores 9, labels 3; expected as many"),
        ({}, {"concept_scores": np.full((9, 2), np.nan)}, r"concept_scores are \(9, 2\); expected a table"),
        ({}, {}, "top_k is 100; the probe has 9 images"),
    ],
)
def test_the_dissector_names_what_does_not_fit(changes, fitted, message) -> None:
    given = {"activations": torch.rand(9, 4), "concept_scores": torch.rand(9, 2)} | fitted
    with pytest.raises(UserError, match=message):
        emobench.Dissector(**changes).fit(**given)


@pytest.fixture(scope="module")
def judged(seen):
    params, _, faces, network, _ = seen
    norms = network.model.lin2.weight.detach().abs().sum(1)
    mask = norms > norms.mean()
    before = {name: value.clone() for name, value in network.model.state_dict().items()}
    options = {"controls": params.edit.controls.draws, "bootstrap_draws": 200, "seed": params.seed}
    return emobench.evaluate_edit(network, faces, "lin2", mask, factors=params.edit.factors, **options), before, mask


def test_an_edit_is_measured_as_the_stages_measure_it(seen, judged) -> None:
    """The stages' arm weight_norm takes the rows above the mean of the L1 norms: selected here by hand."""
    _, layout, faces, network, _ = seen
    result, before, mask = judged
    wanted = pd.read_parquet(layout.artifacts / "verdicts.parquet")
    wanted = wanted[wanted["arm"] == "weight_norm"].set_index("images")
    found = result.verdicts.set_index("images")
    assert list(found.index) == list(wanted.index)
    same = ["gains", "losses", "mcnemar_p", "delta_accuracy", "ci_low_accuracy", "nll", "accuracy"]
    same += ["control_p", "control_draws", "random_p95", "uniform_accuracy", "inverse_accuracy"]
    pd.testing.assert_frame_equal(found[same], wanted[same], check_dtype=False)
    assert result.difference == found.loc["test", "delta_accuracy"]
    assert found.loc["test", "control_draws"] > 0
    # The network that was given is as it was; the edited one has its rows scaled, and answers as was counted.
    assert all(torch.equal(before[name], value) for name, value in network.model.state_dict().items())
    scaled = before["lin2.weight"] * torch.where(mask, result.edit.factor, 1 / result.edit.factor)[:, None]
    torch.testing.assert_close(result.network.model.state_dict()["lin2.weight"], scaled)
    rows = faces.rows("test")
    right = (result.network.logits(faces.images, rows).argmax(1).numpy() == faces.labels[rows]).mean()
    assert right == pytest.approx(found.loc["test", "accuracy"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": "lin3"}, "unknown layer to edit 'lin3'; known: conv1a"),
        ({"selected": np.ones(3)}, r"selected is torch.float64 \(3,\); expected a mask of units, bool"),
        ({"selected": "all"}, "units of lin2; expected some, not all"),
        ({"others": "halved"}, "unknown others 'halved'; known: divided, alone"),
        ({"factors": 0}, r"factors are \[0.0\]; expected numbers of at least 0, above 0 where"),
        ({"operations": ["flip"]}, "unknown operation 'flip'; known: rows, rows_bias, zero, mean"),
    ],
)
def test_an_edit_that_can_not_be_is_refused(seen, changes, message) -> None:
    _, _, faces, network, _ = seen
    given = {"layer": "lin2", "selected": np.arange(len(network.model.lin2.bias)) < 5} | changes
    if isinstance(given["selected"], str):
        given["selected"] = np.ones(len(network.model.lin2.bias), bool)
    with pytest.raises(UserError, match=message):
        emobench.evaluate_edit(network, faces, **given)


def test_images_of_ones_own_keep_their_order_and_copies_are_told() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3)).astype(np.uint8)
    images[21] = images[20]
    splits = ["train", "val", "test", "train"] * 10
    faces = emobench.image_set(images, np.arange(40) % 2, ["sad", "happy"], splits=splits)
    assert (faces.images == images).all()
    assert faces.index["split"].tolist() == splits
    assert faces.index["leaks"].sum() == 1
    assert faces.index["leaks"][21]
    again = emobench.image_set(images, np.arange(40) % 2, ["sad", "happy"], seed=3)
    assert again.index["split"][20] == again.index["split"][21]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((4, 8, 9), np.uint8)}, r"images are uint8 \(4, 8, 9\); expected uint8 \(n, side, side\)"),
        ({"labels": [0, 1]}, "there are 2 labels for 4 images"),
        ({"labels": [0, 1, 2, 0]}, "labels are 0 to 2; expected places in the 2 classes"),
        ({"splits": ["train", "val", "test", "dev"]}, "unknown split 'dev'; known: train, val, test"),
        ({"groups": ["a"]}, "there are 1 groups for 4 images"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, message) -> None:
    given = {"images": np.zeros((4, 8, 8), np.uint8), "labels": [0, 1, 0, 1], "classes": ["sad", "happy"]} | changes
    with pytest.raises(UserError, match=message):
        emobench.image_set(given.pop("images"), given.pop("labels"), given.pop("classes"), **given)
