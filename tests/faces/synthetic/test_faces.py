from contextlib import contextmanager

import numpy as np
import pytest

from emobench.errors import UserError
from emobench.faces.synthetic import canvas, drawing
from emobench.faces.synthetic.faces import (
    EXPRESSION,
    IDENTITY,
    concept_values,
    contact_sheet,
    draw_expressions,
    draw_identities,
    draw_labels,
    synthesize,
)
from emobench.vocabulary import concept_classes, concept_set
from emobench.vocabulary.class_names import BASIC

CONCEPTS = concept_set("expressions")


@pytest.fixture(scope="module")
def faces():
    return synthesize(120, 5)


@pytest.fixture(scope="module")
def many():
    """Emotions and concept values of many faces, without the pictures."""
    emotions = np.arange(14000) % 7
    return emotions, concept_values(draw_expressions(emotions, np.random.default_rng(0)))


def average_face(**changes):
    """The mean identity, seen straight on, with a neutral expression but for the changes."""
    face = {name: mean for name, (mean, *_) in IDENTITY.items() if name != "tilt"}
    face |= (
        {"tilt_cos": 1.0, "tilt_sin": 0.0, "hair_length": 0.0, "blur": 0.0} | dict.fromkeys(EXPRESSION, 0.0) | changes
    )
    return {name: np.array([value], np.float32) for name, value in face.items()}


def random_faces(count):
    """Random identities with any expression at all."""
    rng = np.random.default_rng(1)
    expression = {
        name: rng.uniform(low, high, count).astype(np.float32) for name, ((low, high, _), *_) in EXPRESSION.items()
    }
    return {**draw_identities(count, rng, rng), **expression}


def test_shapes_types_ranges(faces):
    assert faces.images.shape == (120, 48, 48)
    assert faces.images.dtype == np.uint8
    assert faces.labels.dtype == faces.true_labels.dtype == np.int64
    assert set(faces.true_labels) == set(range(7))
    assert tuple(faces.truth.columns) == CONCEPTS
    assert faces.truth.shape == (120, 25)
    assert faces.truth.to_numpy().min() == 0
    assert faces.truth.to_numpy().max() == 1
    assert (faces.images.std(axis=(1, 2)) > 8).all(), "a picture without contrast shows no face"


def test_a_face_depends_on_seed_and_number_only(faces, monkeypatch):
    other = synthesize(3, 6)
    assert not np.array_equal(other.images[0], faces.images[0])
    monkeypatch.setattr(drawing, "CHUNK", 7)
    fewer = synthesize(41, 5)
    np.testing.assert_array_equal(fewer.images, faces.images[:41])
    np.testing.assert_array_equal(fewer.labels, faces.labels[:41])
    np.testing.assert_array_equal(fewer.true_labels, faces.true_labels[:41])
    np.testing.assert_array_equal(fewer.truth, faces.truth[:41])


def test_no_window_cuts_off_what_is_drawn_in_it(monkeypatch):
    face = random_faces(120)
    windowed = drawing.render(face)

    @contextmanager
    def everything(sheet, *_):
        yield sheet

    monkeypatch.setattr(canvas.Sheet, "window", everything)
    np.testing.assert_array_equal(windowed, drawing.render(face))


def test_label_noise_draws_the_label_anew():
    labels, emotions = draw_labels(50000, 0.3, np.random.default_rng(0))
    assert (labels != emotions).mean() == pytest.approx(0.3 * 6 / 7, abs=0.01)
    for drawn in (labels, emotions):
        np.testing.assert_allclose(np.bincount(drawn) / 50000, 1 / 7, atol=0.01)


def test_label_noise_changes_labels_only():
    noisy, clean = synthesize(40, 3, label_noise=1), synthesize(40, 3, label_noise=0)
    np.testing.assert_array_equal(clean.labels, clean.true_labels)
    np.testing.assert_array_equal(noisy.true_labels, clean.true_labels)
    np.testing.assert_array_equal(noisy.images, clean.images)
    assert (noisy.labels != noisy.true_labels).mean() > 0.6


@pytest.mark.parametrize("count", [0, -3])
def test_refuses_no_faces(count):
    with pytest.raises(UserError, match=rf"cannot draw {count} faces; expected at least 1"):
        synthesize(count, 0)


@pytest.mark.parametrize("share", [-0.1, 1.01, float("nan")])
def test_refuses_label_noise_that_is_no_share(share):
    with pytest.raises(UserError, match=r"label noise .* is no share; expected 0 to 1"):
        synthesize(1, 0, label_noise=share)


@pytest.mark.parametrize("concept", CONCEPTS)
def test_concepts_have_enough_clear_cases(many, concept):
    values = many[1][concept]
    assert 0.05 <= (values >= 0.8).mean() <= 0.3
    assert (values <= 0.5).mean() >= 0.2


@pytest.mark.parametrize("concept", CONCEPTS)
def test_a_concept_is_strongest_in_an_emotion_it_speaks_for(many, concept):
    emotions, values = many
    means = values[concept].groupby(emotions).mean()
    assert BASIC[means.idxmax()] in concept_classes()[concept]


def test_no_two_concepts_say_the_same(many):
    correlation = np.corrcoef(many[1].to_numpy(), rowvar=False)
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 0.95


# Regions of the average face in face coordinates: u from, to; v from, to (the left half mirrors the right).
BROW = (0.1, 0.5, -0.46, -0.16)
BROW_INNER, BROW_OUTER = (0.1, 0.25, -0.46, -0.16), (0.35, 0.5, -0.46, -0.16)
BETWEEN_BROWS = (0.0, 0.09, -0.36, -0.16)
EYE = (0.14, 0.43, -0.24, 0.02)
EYE_CORNER = (0.47, 0.6, -0.18, -0.02)
CHEEK = (0.24, 0.33, 0.1, 0.25)
NOSTRIL = (0.03, 0.12, 0.18, 0.27)
FOLD = (0.16, 0.28, 0.24, 0.42)
JAW_MUSCLE = (0.35, 0.43, 0.33, 0.55)
MOUTH_SIDE = (0.14, 0.29, 0.36, 0.62)
UNDER_LIP_LINE = (0.0, 0.12, 0.51, 0.58)
OPENING, DEEP = (0.0, 0.1, 0.5, 0.58), (0.0, 0.1, 0.6, 0.7)
CHIN_GROOVE = (0.0, 0.08, 0.55, 0.59)
BELOW_CHIN = (0.0, 0.15, 0.9, 0.97)


def _cut(face, region):
    """The pixels of a region on the right half."""
    left, right, top, bottom = (
        (np.array(region) * face["scale"][0] + [0, 0, *[face["shift_y"][0]] * 2] + 1) * 24
    ).round()
    return drawing.render(face)[0, int(top) : int(bottom), int(left) : int(right)]


def grey(face, region):
    return _cut(face, region).mean()


def whites(face, region):
    """How bright the brightest eighth of a region is."""
    pixels = np.sort(_cut(face, region), axis=None)
    return pixels[-len(pixels) // 8 :].mean()


def height(face, region):
    """How high the darkness in a region lies, in pixels above its lower edge."""
    pixels = _cut(face, region)
    dark = np.maximum(np.median(pixels) - pixels, 0).sum(axis=1)
    return (dark * np.arange(len(dark))[::-1]).sum() / dark.sum()


def slant(face, _):
    return height(face, BROW_INNER) - height(face, BROW_OUTER)


WIDE = {"upper_lid": 0.8, "lower_lid": 0.8}
TIGHT = {"clench": 1.0, "press": 1.0}
DRAWN = {
    # concept: expression without it, expression with it, what is measured and where, direction, smallest change.
    "furrowed brows": ({}, {"brow_knit": 1}, grey, BETWEEN_BROWS, -1, 0.05),
    "raised brows": ({}, {"brow_height": 1}, height, BROW, 1, 1),
    "lowered brows": ({}, {"brow_height": -1}, height, BROW, -1, 1),
    "drooping brows": ({}, {"brow_slope": 1}, slant, None, 1, 1),
    "relaxed brows": ({"brow_knit": 1}, {}, grey, BETWEEN_BROWS, 1, 0.05),
    "wide open eyes": ({}, WIDE, whites, EYE, 1, 0.05),
    "narrowed eyes": ({}, {"upper_lid": -0.7, "lower_lid": -0.7}, whites, EYE, -1, 0.02),
    "twinkling or crinkled eyes": ({}, {"crinkle": 1}, grey, EYE_CORNER, -1, 0.05),
    "tearful eyes": ({}, {"tear": 1}, grey, CHEEK, 1, 0.05),
    "closed eyes": ({}, {"closed": 1}, whites, EYE, -1, 0.02),
    "relaxed eyes": ({"closed": 1}, {}, whites, EYE, 1, 0.02),
    "tense mouth and jaw": ({}, TIGHT, grey, JAW_MUSCLE, -1, 0.05),
    "relaxed mouth and jaw": (TIGHT, {}, grey, JAW_MUSCLE, 1, 0.05),
    "smile": ({}, {"corners": 1}, height, MOUTH_SIDE, 1, 0.5),
    "frown": ({}, {"corners": -1, "brow_knit": 1}, height, MOUTH_SIDE, -1, 0.4),
    "downturned mouth": ({}, {"corners": -1}, height, MOUTH_SIDE, -1, 0.4),
    "slightly open mouth": ({}, {"mouth_open": 0.4, "jaw": 0.24}, grey, OPENING, -1, 0.05),
    "wide open mouth": ({"mouth_open": 0.3}, {"mouth_open": 1}, grey, DEEP, -1, 0.05),
    "slight chin raise": ({}, {"chin": 1}, grey, CHIN_GROOVE, -1, 0.05),
    "slightly dropped jaw": ({}, {"jaw": 0.45}, grey, BELOW_CHIN, 1, 0.02),
    "flared nostrils": ({}, {"nostrils": 1}, grey, NOSTRIL, -1, 0.05),
    "tightened facial muscles": ({}, {"tension": 1}, grey, FOLD, -1, 0.05),
    "compressed lips": ({}, {"press": 1}, grey, UNDER_LIP_LINE, 1, 0.02),
    "elevated upper eyelids": ({}, {"upper_lid": 1}, height, EYE, 1, 0.3),
    "relaxed facial muscles": ({"tension": 1}, {}, grey, FOLD, 1, 0.05),
}


@pytest.mark.parametrize("concept", CONCEPTS)
def test_a_concept_is_drawn_where_it_belongs(concept):
    without, with_it, measure, region, direction, least = DRAWN[concept]
    off, on = average_face(**without), average_face(**with_it)
    assert concept_values(off)[concept][0] <= 0.2
    assert concept_values(on)[concept][0] >= 0.8
    assert direction * (measure(on, region) - measure(off, region)) >= least


@pytest.mark.parametrize("name", EXPRESSION)
def test_every_parameter_shows_on_every_face(name):
    face = random_faces(60) | {other: np.zeros(60, np.float32) for other in EXPRESSION}
    change = drawing.render({**face, name: np.ones(60, np.float32)}) - drawing.render(face)
    strongest = np.abs(change).max(axis=(1, 2))
    assert np.median(strongest) > 0.08
    assert strongest.min() > 0.02


def test_contact_sheet_has_a_row_an_emotion():
    sheet = contact_sheet(1, columns=3, zoom=1)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (7 * 48, 40 + 3 * 48)
    faces = synthesize(120, 1, label_noise=0)
    for row in range(7):
        first = faces.images[np.flatnonzero(faces.true_labels == row)[0]]
        np.testing.assert_array_equal(sheet[row * 48 : row * 48 + 48, 40:88], first)
        assert sheet[row * 48 : row * 48 + 48, :40].min() < 128, "no name"
