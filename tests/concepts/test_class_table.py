from types import SimpleNamespace

import numpy as np
import pytest

from emobench.concepts.class_table import class_table
from emobench.concepts.clip import Origin
from emobench.vocabulary.card import Vocabulary

CLASSES = ("happy", "sad", "bored")
VECTORS = {"happy": [1, 0, 0], "sad": [0, 1, 0], "bored": [0, 0, 1], "smile": [0.8, 0.6, 0], "yawn": [0, 0.6, 0.8],
           "hat": [0, 1, 0]}  # fmt: skip
VOCABULARY = Vocabulary(CLASSES, {"mine": {"smile": ("happy",), "yawn": ("sad", "happy"), "hat": ()}})


def table_of(**origin):
    clip = SimpleNamespace(
        origin=Origin(**({"source": "checkpoint", "name": "small"} | origin)),
        embed_texts=lambda texts, prompts: np.array([VECTORS[text] for text in texts], np.float32).reshape(-1, 3),
    )
    names = clip.origin.candidates(VOCABULARY.concepts("mine"))[0]
    return class_table(clip, VOCABULARY, {"mine": names}, {"mine": clip.embed_texts(names, ["{}"])}, ["{}"])


def test_the_nearest_class_is_held_against_the_map():
    table = table_of()
    assert list(table) == [
        "concept_set",
        "concept",
        *(f"cosine_{name}" for name in CLASSES),
        "nearest",
        "mapped",
        "agrees",
    ]
    np.testing.assert_allclose(
        table[["cosine_happy", "cosine_sad", "cosine_bored"]], [VECTORS[n] for n in table["concept"]]
    )
    assert table["concept"].tolist() == ["smile", "yawn", "hat"]
    assert table["nearest"].tolist() == ["happy", "bored", "sad"]
    assert table["mapped"].tolist() == ["happy", "sad|happy", ""]
    np.testing.assert_array_equal(table["agrees"], [1, 0, np.nan])


def test_a_clip_that_was_not_taught_a_class_has_no_cosine_for_it():
    table = table_of(source="train", concepts=["smile", "yawn", "sad", "happy"])
    assert table["cosine_bored"].isna().all()
    assert table["nearest"].tolist() == ["happy", "sad"]
    assert table["agrees"].tolist() == [1, 1]


@pytest.mark.parametrize("concepts", [["smile", "yawn"]])
def test_without_any_class_nothing_agrees_or_disagrees(concepts):
    table = table_of(source="train", concepts=concepts)
    assert table["concept"].tolist() == concepts
    assert table["nearest"].tolist() == ["", ""]
    assert table["agrees"].isna().all()
