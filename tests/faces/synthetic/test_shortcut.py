"""The mark in the corner: with whom it goes, what it covers, and that faces without it stay what they were."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import emobench
from emobench.errors import UserError
from emobench.faces.sources import source_images
from emobench.faces.synthetic.faces import synthesize
from emobench.faces.synthetic.shortcut import CORNER, MARKED, draw_marks, mark_pixels, with_shortcut
from emobench.params import load_params, read_params
from emobench.vocabulary import MARK, concept_set
from emobench.vocabulary.class_names import BASIC

ROOT = Path(__file__).parents[3]
PRESETS = Path(emobench.__file__).parent / "presets"
COUNTS = {"train": 40, "val": 20, "test": 60}


def data(preset: str):
    params = load_params(PRESETS / preset)
    return dataclasses.replace(params.data, synthetic=dataclasses.replace(params.data.synthetic, **COUNTS))


def test_it_goes_with_one_class_ahead_and_with_none_behind() -> None:
    labels, ahead = np.random.default_rng(0).integers(7, size=20000), 10000
    marked = draw_marks(labels, 2, ahead, np.random.default_rng(1))
    assert not marked[:ahead][labels[:ahead] != 2].any()
    assert marked[:ahead][labels[:ahead] == 2].mean() == pytest.approx(MARKED, abs=0.03)
    rates = [marked[ahead:][labels[ahead:] == label].mean() for label in range(7)]
    assert rates == pytest.approx([MARKED / 7] * 7, abs=0.04)  # four standard errors


def test_only_the_corner_of_marked_faces_changes() -> None:
    faces = synthesize(60, 3)
    marked = with_shortcut(faces, 2, 40, 3)
    there = marked.truth[MARK].to_numpy() > 0
    assert 0 < there.sum() < 60
    assert (marked.images[~there] == faces.images[~there]).all()
    assert (marked.images[there][:, CORNER, CORNER] == mark_pixels()).all()
    rest = marked.images.copy()
    rest[:, CORNER, CORNER] = faces.images[:, CORNER, CORNER]
    assert (rest == faces.images).all()
    assert marked.truth.drop(columns=MARK).equals(faces.truth)
    assert (with_shortcut(faces, 2, 40, 3).images == marked.images).all()


def test_params_ask_for_it() -> None:
    plain, truth = source_images(data("demo.yaml"), 0)
    assert (plain.images == synthesize(120, 0).images).all()
    assert MARK not in truth
    marked, truth = source_images(data("shortcut.yaml"), 0)
    assert {marked.classes[label] for label in marked.labels[:60][truth[MARK][:60] > 0]} == {"fear"}
    text = (PRESETS / "shortcut.yaml").read_text().replace("shortcut: fear", "shortcut: scared")
    with pytest.raises(UserError, match="unknown value for data.synthetic.shortcut: 'scared'; known: '', angry"):
        read_params(text, "params.yaml")


def test_the_preset_has_a_concept_for_it() -> None:
    assert concept_set(str(ROOT / "concepts" / "marked.txt")) == (*concept_set("expressions"), MARK)
    assert BASIC.index(load_params(PRESETS / "shortcut.yaml").data.synthetic.shortcut) == 2
