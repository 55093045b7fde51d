from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from presets import preset
from small_card import write_small_card

from emobench.errors import UserError
from emobench.layout import Layout
from emobench.stages import annotate
from emobench.vocabulary import concept_set
from emobench.vocabulary.card import save_vocabulary, vocabulary_of
from emobench.vocabulary.class_names import BASIC

SETS = ["emotions", "expressions"]
IDS = ["synthetic/000000", "synthetic/000001", "synthetic/000002"]


@pytest.fixture
def layout(tmp_path):
    layout = Layout("demo", tmp_path)
    layout.data.mkdir(parents=True)
    np.save(layout.data / "images.npy", np.zeros((3, 48, 48), np.uint8))
    pd.DataFrame({"image_id": IDS}).to_parquet(layout.data / "index.parquet")
    write_small_card(layout.data)
    save_vocabulary(layout.data, vocabulary_of(SETS, BASIC), SETS)
    return layout


def run(layout, source, given="data/raw/none"):
    params = preset()
    annotate.run(replace(params, annotate=replace(params.annotate, source=source, input=given)), layout)
    return pd.read_parquet(layout.data / "annotations.parquet")


def test_truth_goes_through(layout):
    concepts = list(concept_set("expressions"))
    truth = pd.DataFrame(np.random.default_rng(0).uniform(size=(3, 25)), columns=concepts)
    truth.assign(image_id=IDS).to_parquet(layout.data / "truth.parquet")
    table = run(layout, "truth")
    assert list(table) == ["image_id", *concepts]
    pd.testing.assert_frame_equal(table[concepts], truth)


def test_a_file_is_found_below_the_root(layout):
    (layout.root / "mine.csv").write_text(f"image_id,smile\n{IDS[1]},0.75\n")
    np.testing.assert_array_equal(run(layout, "file", "mine.csv")["smile"], [np.nan, 0.75, np.nan])


def test_none_goes_through(layout):
    assert run(layout, "none").drop(columns="image_id").isna().all(axis=None)


def test_after_an_error_nothing_is_written(layout):
    with pytest.raises(UserError, match=r"no landmark model .*nothing\.task"):
        run(layout, "landmarks", "nothing.task")
    assert not (layout.data / "annotations.parquet").exists()
