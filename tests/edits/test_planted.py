"""Planted truth: a gain that is there is found, and where there is none by construction none is told."""

import dataclasses

import edit_bench
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binom

from emobench.edits.planted import Ground, Head, answers_of, ground_of, judge
from emobench.edits.planting import AMONG, by_importance, damaged_units, with_random_labels, with_shuffled_units
from emobench.errors import UserError
from emobench.faces.imageset import load_imageset
from emobench.functional.planting import damaged_rows, found_share, restoring_scale
from emobench.networks.card import InputCard, LayerCard, NetworkCard
from emobench.networks.network import Network
from emobench.networks.sources import load_network
from emobench.settings.edit import Controls
from emobench.vocabulary.class_names import BASIC

CLASSES, TWINS, VAL, TEST, HURT = 7, 6, 300, 600, 3
UNITS = CLASSES * TWINS
EDIT = dataclasses.replace(
    edit_bench.small_params(layer="first", arms=["description", "effect"]).edit,
    lone_factors=[3.0],
    operations=["rows"],
    controls=Controls(draws=40, least=40),
)
COMPARE = edit_bench.small_params().compare


def ground() -> Ground:
    """Six units see each class, are described by it, and vote for it; the images are noisy.

    Class HURT has three times the weights in, a third of them out: with a third of the former its rows are as long as
    the others', so that controls among rows of like norm can't tell them.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=VAL + TEST)
    features = rng.normal(size=(VAL + TEST, CLASSES)) + 2.5 * np.eye(CLASSES)[labels]
    eye, gain = torch.eye(CLASSES).repeat(TWINS, 1), torch.ones(UNITS, 1)
    gain[HURT::CLASSES] = 3
    weights = {"first.weight": gain * eye, "first.bias": torch.zeros(UNITS)}
    weights |= {"last.weight": (eye / gain).T.clone(), "last.bias": torch.zeros(CLASSES)}
    sizes = {"first": UNITS, "last": CLASSES}
    cards = tuple(
        LayerCard(name, "linear", units, -1, (), 0, 0, f"{name}.weight", f"{name}.bias", 1, 7 * UNITS, "quick")
        for name, units in sizes.items()
    )
    card = NetworkCard("head", {}, "w", InputCard(1, (1, 1)), BASIC, True, cards)
    units = pd.DataFrame({"unit": range(UNITS), "description": np.tile(BASIC, TWINS), "similarity": 1.0})
    units = units.assign(layer="first", concept_set=EDIT.concept_set, similarity_fn=EDIT.similarity_fn)
    places, none = np.arange(VAL + TEST), np.arange(0)
    positions = {"val": places[:VAL], "test": places[VAL:], "test_noleaks": none, "val_test": none}
    head = Network(Head(["first", "last"], weights).eval(), card)
    speaks = {name: (name,) for name in BASIC}
    inputs, target = torch.from_numpy(features).float(), torch.from_numpy(labels)
    return Ground(head, "first", inputs, target, positions, places, units, speaks)


def test_a_planted_gain_is_found_where_the_damage_is() -> None:
    """All units of one class are damaged; the arm that goes by descriptions sets just these right again."""
    sound, units = ground(), torch.arange(HURT, UNITS, CLASSES)
    damaged = sound.with_weight(damaged_rows(sound.weight, units, "third", generator=torch.Generator()))
    assert sound.right("test").mean() > damaged.right("test").mean() + 0.03
    judged = judge(damaged, EDIT, COMPARE, seed=0)
    row = judged.verdicts.set_index("arm").loc["description"]
    assert (row["verdict"], set(judged.verdicts["images"])) == ("improves", {"test"})
    edit = judged.edits[row["config_id"]]
    assert torch.equal(edit.scale, restoring_scale(UNITS, units, "third"))
    assert found_share(edit.scale, units, "third") == (1.0, 0.0)
    assert row["accuracy"] == pytest.approx(sound.right("test").mean())
    assert row["gains"] - row["losses"] >= row["detectable"]


def test_without_damage_the_same_edits_improve_nothing() -> None:
    judged = judge(ground(), EDIT, COMPARE, seed=0).verdicts
    assert "improves" not in set(judged["verdict"])


@pytest.mark.slow
def test_planted_nulls_keep_the_level() -> None:
    """Random labels, eight families of two edits: more false verdicts than in 1 of 1,000 cases would be a fault."""
    sound, false, families = ground(), 0, 8
    for draw in range(families):
        judged = judge(with_random_labels(sound, np.random.default_rng(draw)), EDIT, COMPARE, seed=draw).verdicts
        false += judged["verdict"].isin(["improves", "harms"]).any()
    assert false <= binom.ppf(0.999, families, 0.05)


def test_shuffled_descriptions_are_the_same_ones_elsewhere() -> None:
    sound = ground()
    shuffled = with_shuffled_units(sound, EDIT, np.random.default_rng(0)).units
    assert sorted(shuffled["description"]) == sorted(sound.units["description"])
    assert shuffled["unit"].tolist() == list(range(UNITS))
    assert shuffled["description"].tolist() != sound.units["description"].tolist()


def test_the_most_important_units_come_first() -> None:
    sound = ground()
    assert by_importance(sound.with_weight(sound.weight * torch.linspace(1, 9, UNITS)[:, None]))[0] == UNITS - 1


def test_damaged_units_are_drawn_where_they_are_asked_for() -> None:
    sound = ground()
    heavy = sound.with_weight(sound.weight * torch.linspace(1, 9, UNITS)[:, None])
    drawn = {
        among: damaged_units(heavy, EDIT, among, 5, np.random.default_rng(0)).tolist()
        for among in ("random", "important", "described")
    }
    assert set(drawn) == set(AMONG)
    assert all(units == sorted(set(units)) and len(units) == 5 for units in drawn.values())
    assert set(drawn["important"]) <= set(by_importance(heavy)[:10].tolist())
    assert not set(drawn["random"]) <= set(by_importance(heavy)[:10].tolist())
    assert len({unit % CLASSES for unit in drawn["described"]}) == 1
    with pytest.raises(UserError, match="7 units to damage among 6 described ones"):
        damaged_units(sound, EDIT, "described", 7, np.random.default_rng(0))


def test_answers_are_those_of_the_edits() -> None:
    sound, edit = ground(), dataclasses.replace(EDIT, arms=["description"])
    answers = answers_of(sound, edit)
    assert answers.shape == (1 + CLASSES, VAL + TEST)
    assert ((answers[0] == sound.labels.numpy())[sound.positions["test"]] == sound.right("test")).all()
    row = judge(sound, edit, COMPARE, seed=0).verdicts.iloc[0]
    right = (answers == sound.labels.numpy())[:, sound.positions["test"]].mean(1)
    assert row["accuracy"] in right.tolist()


def test_the_head_of_a_benchmark_answers_as_its_network(tmp_path) -> None:
    layout = edit_bench.write_benchmark(tmp_path)
    network, imageset = load_network(layout.models / "network"), load_imageset(layout.data)
    units, speaks = pd.read_parquet(layout.artifacts / "units.parquet"), edit_bench.speaks(layout)
    taken = ground_of(network, imageset, units, speaks)
    assert taken.layer == "lin2"
    for split in ("val", "test"):
        rows = imageset.rows(split)
        expected = network.logits(imageset.images, rows).argmax(1).numpy() == imageset.labels[rows]
        assert (taken.right(split) == expected).all()
    assert not network.model.lin2._forward_pre_hooks
    other = dataclasses.replace(network, card=dataclasses.replace(network.card, layers=network.card.layers[:-1]))
    with pytest.raises(UserError, match="more than a ReLU"):
        ground_of(other, imageset, units, speaks)
    other = dataclasses.replace(network, card=dataclasses.replace(network.card, layers=network.card.layers[:-3]))
    with pytest.raises(
        UserError, match="the last layers are conv4a, conv4b; planting needs two linear ones with a bias"
    ):
        ground_of(other, imageset, units, speaks)
