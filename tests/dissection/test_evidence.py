import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kinds import VGG, network_of
from presets import preset

from emobench.concepts.scores import ConceptScores
from emobench.dissection.evidence import (
    SHOWN,
    HeldOut,
    description_evidence,
    evidence,
    layer_metrics,
    output_evidence,
    own_class_units,
    profiles,
)
from emobench.dissection.network import Tables
from emobench.faces.imageset import ImageSet
from emobench.files import write_json
from emobench.settings.edit import Edit
from emobench.vocabulary.class_names import BASIC

EDIT = preset().edit
SETS = {"expressions": ("smile", "frown"), "emotions": BASIC}


def known() -> dict:
    """What is the same in all calls."""
    card = dataclasses.replace(network_of(VGG).card, recorded=("lin1", "lin2", "lin3"))
    return {"card": card, "sets": SETS, "seed": 0}


def test_own_class_units_counts_what_a_set_can_name() -> None:
    last = pd.DataFrame({"unit": range(7), "description": ["angry", "fear", *BASIC[2:]]})
    assert own_class_units(last, BASIC, BASIC) == {"own_class": 6, "units": 7}
    assert own_class_units(last, ("none", *BASIC[1:]), BASIC) == {"own_class": 5, "units": 6}


def test_a_unit_stands_for_the_models_own_output() -> None:
    outputs = ("contempt", "happy", "angry")
    card = dataclasses.replace(network_of(VGG).card, classes=("angry", "happy"), outputs=outputs)
    card = dataclasses.replace(card, layers=(*card.layers[:-1], dataclasses.replace(card.layers[-1], units=3)))
    units = pd.DataFrame({"unit": range(3), "description": ["happy", "happy", "angry"]})
    units = units.assign(layer="lin3", concept_set="few", similarity_fn="wpmi")
    found = output_evidence(units, card, {"few": ["angry", "happy"], "other": ["smile"]})
    assert found == {"layer": "lin3", "concept_sets": {"few": {"wpmi": {"own_class": 2, "units": 2}}}}


def test_true_descriptions_score_above_random_ones(tmp_path) -> None:
    rng = np.random.default_rng(0)
    annotations = pd.DataFrame(rng.random((400, 4), np.float32), columns=["a", "b", "c", "unmeasured"])
    annotations["unmeasured"] = np.nan
    write_json(tmp_path / "source.json", {"images_digest": "x"})
    for layer in ("lin1", "lin2"):
        np.save(tmp_path / f"{layer}.npy", annotations[["a", "b", "c", "a"]].to_numpy())
    described = {"layer": ["lin1"] * 4 + ["lin2"] * 4, "description": ["a", "b", "c", "hat"] * 2}
    held = HeldOut(annotations, "x", np.arange(100, 400))
    found = description_evidence(pd.DataFrame(described), held, tmp_path, ["lin1", "lin2"], seed=0)
    assert found["lin1"]["units"] == 3, "a description that nobody measured is left out"
    assert found["lin1"]["described"] == pytest.approx(1)
    assert found["lin2"]["random"] < 0.9
    table = pd.DataFrame({"layer": ["lin1"], "description": ["hat"]})
    assert description_evidence(table, held, tmp_path, ["lin1"], seed=0) == {}


@pytest.fixture
def case(tmp_path) -> tuple[dict[str, pd.DataFrame], ImageSet, pd.DataFrame, dict[str, Path]]:
    """Two networks whose lin1 and lin2 are the annotations of 60 images; test image 50 was removed."""
    columns = (
        "image_id",
        "label",
        "split",
        "status",
        "reason",
        "duplicate_of",
        "near_duplicate_of",
        "leaks",
        "conflict",
    )
    index = pd.DataFrame({name: [None] * 60 for name in columns})
    index["image_id"], index["label"] = [f"image{number}" for number in range(60)], 0
    index["split"], index["status"] = ["train"] * 20 + ["val"] * 20 + ["test"] * 20, "kept"
    index.loc[50, "status"], index["leaks"] = "removed", False
    imageset = ImageSet(np.zeros((60, 2, 2), np.uint8), index)
    annotations = pd.DataFrame(np.random.default_rng(0).random((60, 2), np.float32), columns=["smile", "frown"])
    annotations.iloc[50] = 0.95
    activations = annotations.to_numpy().copy()
    activations[:20], activations[50] = -activations[:20], -1e6 * annotations.iloc[50]  # wrong where nobody may look
    recordings = {}
    for network in ("trained", "untrained"):
        recordings[network] = tmp_path / network
        recordings[network].mkdir()
        write_json(recordings[network] / "source.json", {"images_digest": imageset.digest()})
        for layer in ("lin1", "lin2"):
            np.save(recordings[network] / f"{layer}.npy", activations)
    return {name: unit_table() for name in recordings}, imageset, annotations, recordings


def unit_table() -> pd.DataFrame:
    """lin1 to lin3 by two sets and functions: cos_similarity is right, wpmi exchanges the first two descriptions."""
    rows = []
    for function in ("cos_similarity", "wpmi"):
        first, second = (0, 1) if function == "cos_similarity" else (1, 0)
        for concept_set, names in (("expressions", ("smile", "frown")), ("emotions", BASIC)):
            last = [names[first], names[second], *BASIC[2:]] if names == BASIC else ["smile"] * 7
            for layer, described in (("lin1", names[:2]), ("lin2", (names[first], names[second])), ("lin3", last)):
                key = {"layer": layer, "concept_set": concept_set, "similarity_fn": function}
                rows += [key | {"unit": unit, "description": word} for unit, word in enumerate(described)]
    return pd.DataFrame(rows)


def choice(concept_set: str, function: str) -> Edit:
    return dataclasses.replace(EDIT, concept_set=concept_set, similarity_fn=function)


def test_the_known_answer_of_every_set_that_names_classes(case) -> None:
    found = evidence(*case, edit=choice("expressions", "wpmi"), **known())
    assert found["output_layer"] == {
        "layer": "lin3",
        "concept_sets": {
            "emotions": {"cos_similarity": {"own_class": 7, "units": 7}, "wpmi": {"own_class": 5, "units": 7}}
        },
    }


def test_the_edits_set_and_function_are_held_against_the_annotations(case) -> None:
    right = evidence(*case, edit=choice("expressions", "cos_similarity"), **known())
    for network in ("trained", "untrained"):
        for layer in ("lin1", "lin2"):
            assert right[network][layer]["described"] == 1, "train and removed images, where it is wrong, don't count"
            assert right[network][layer]["units"] == 2
    wrong = evidence(*case, edit=choice("expressions", "wpmi"), **known())
    assert wrong["trained"]["lin1"]["described"] == 1
    assert wrong["trained"]["lin2"]["described"] < 0.8
    assert evidence(*case, edit=choice("emotions", "wpmi"), **known())["trained"] == {}


def test_without_annotations_only_the_known_answer_stays(case) -> None:
    units, imageset, annotations, recordings = case
    found = evidence(units, imageset, annotations * np.nan, recordings, edit=choice("expressions", "wpmi"), **known())
    assert set(found) == {"output_layer"}


def test_without_a_recorded_output_layer_there_is_no_known_answer(case) -> None:
    hidden = dataclasses.replace(known()["card"], recorded=("lin1",))
    found = evidence(*case, edit=choice("expressions", "wpmi"), **known() | {"card": hidden})
    assert set(found) == {"trained", "untrained"}
    assert set(found["trained"]) == {"lin1"}


def test_layer_metrics_are_those_of_one_function() -> None:
    rows = pd.DataFrame({
        "layer": ["lin1", "lin2", "lin1", "lin1"], "concept_set": ["few", "few", "many", "few"],
        "similarity_fn": ["wpmi", "wpmi", "wpmi", "rank_reorder"], "other": 9,
        **{name: [1.0, 2.0, 3.0, 4.0] for name in SHOWN},
    })  # fmt: skip
    found = layer_metrics(rows, "wpmi")
    assert found == {
        "few": {"lin1": dict.fromkeys(SHOWN, 1.0), "lin2": dict.fromkeys(SHOWN, 2.0)},
        "many": {"lin1": dict.fromkeys(SHOWN, 3.0)},
    }


def test_profiles_put_layers_one_after_the_other() -> None:
    tables = Tables(similarity={"few": [torch.zeros(2, 3), torch.ones(4, 3)]}, class_means=[torch.zeros(2, 7)] * 3)
    sets = [ConceptScores("few", ["a", "b", "c"], torch.zeros(5, 3), torch.zeros(3, 7, dtype=torch.bool))]
    found = profiles(tables, sets)
    assert found["similarity_few"].dtype == np.float16
    assert found["similarity_few"][:, 0].tolist() == [0, 0, 1, 1, 1, 1]
    assert found["concepts_few"].tolist() == ["a", "b", "c"]
    assert found["class_activation"].shape == (6, 7)
