"""Synthetic faces: the only probing set whose concept values are known, because they are what was drawn.

An emotion is a prototype over the parameters of an expression. Each face takes its emotion's prototype at its own
strength, adds its own spread, sometimes lacks a part of it or shows a part of another emotion, and is then drawn with
a random identity, pose and light. Where emotions share a prototype's parts, faces are ambiguous, as in photographs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from emobench.errors import UserError
from emobench.faces.synthetic.canvas import SIZE
from emobench.faces.synthetic.drawing import render
from emobench.vocabulary import concept_set
from emobench.vocabulary.class_names import BASIC

Columns = dict[str, np.ndarray]

ALWAYS = (1.0,) * 7
EXPRESSION = {
    # name: (low, high, spread), strength by emotion, how often it occurs by emotion.
    #                            angry disgust  fear  happy   sad surprise neutral
    "brow_height":  ((-1, 1, .22), (-.75, -.50, .60,  .15, -.05,  .95, .00), ALWAYS),
    "brow_slope":   ((-1, 1, .20), (-.80, -.05, .60,  .00,  .85,  .10, .00), ALWAYS),
    "brow_knit":    (( 0, 1, .12), ( .95,  .35, .45,  .00,  .30,  .00, .00), ALWAYS),
    "upper_lid":    ((-1, 1, .22), (-.40, -.30, .85, -.10, -.35,  .90, .00), ALWAYS),
    "lower_lid":    ((-1, 1, .22), (-.75, -.55, .30, -.40, -.10,  .60, .00), ALWAYS),
    "closed":       (( 0, 1, .04), (1.60, 1.60, 1.6, 1.60, 1.60, 1.60, 1.6), (.04, .10, .15, .15, .28, .02, .18)),
    "crinkle":      (( 0, 1, .08), ( .70,  .80, .50, 1.10,  .40,  .30, .40), (.10, .45, .08, .80, .06, .02, .04)),
    "tear":         (( 0, 1, .04), (1.30, 1.30, 1.3, 1.30, 1.40, 1.30, 1.3), (.04, .03, .18, .06, .50, .03, .02)),
    "mouth_open":   (( 0, 1, .11), ( .55,  .45, .75,  .60,  .30,  .75, .25), (.30, .30, .60, .50, .15, .96, .12)),
    "mouth_width":  ((-1, 1, .22), ( .10,  .05, .40,  .75, -.20, -.60, .00), ALWAYS),
    "corners":      ((-1, 1, .20), (-.45, -.60, -.3, 1.00, -.95,  .00, .05), ALWAYS),
    "press":        (( 0, 1, .08), (1.10, 1.00, .80,  .50, 1.00,  .50, .80), (.60, .50, .10, .04, .25, .02, .10)),
    "clench":       (( 0, 1, .08), (1.00,  .90, .70,  .40,  .50,  .40, .40), (.80, .60, .35, .03, .10, .03, .05)),
    "jaw":          (( 0, 1, .08), ( .30,  .30, .45,  .30,  .35,  .55, .30), (.15, .15, .40, .15, .20, .95, .10)),
    "chin":         (( 0, 1, .07), ( .80,  .80, .60,  .60,  .85,  .90, .90), (.20, .30, .10, .06, .35, .40, .32)),
    "nostrils":     (( 0, 1, .08), (1.10, 1.10, .80,  .60,  .60,  .70, .50), (.75, .70, .20, .08, .06, .12, .05)),
    "sneer":        (( 0, 1, .05), ( .40, 1.00, .30,  .10,  .20,  .10, .10), (.15, .85, .06, .05, .05, .02, .02)),
    "tension":      (( 0, 1, .10), ( .95, 1.05, .95,  .20,  .30,  .30, .10), (.80, .90, .75, .30, .30, .20, .30)),
}  # fmt: skip
STRENGTH = (0.55, 1.2)
"""An expression's strength is drawn evenly from this range."""
BORROWED = 0.09
"""How often a part of a face follows another emotion's prototype; it is the same other emotion for all its parts."""
STRAY = 0.4
"""How often one part of a face is drawn anew from its whole range, whatever the emotion."""

IDENTITY = {
    # name: (mean, spread, low, high)
    "width": (0.66, 0.035, 0.58, 0.76), "skull": (0.1, 0.04, 0.02, 0.2), "length": (0.86, 0.035, 0.78, 0.94),
    "taper": (0.2, 0.1, 0.0, 0.42), "ears": (1.0, 0.25, 0.5, 1.6), "age": (0.8, 0.6, 0.0, 2.0),
    "eye_x": (0.285, 0.016, 0.25, 0.32), "eye_y": (-0.1, 0.02, -0.15, -0.05), "eye_w": (0.16, 0.012, 0.135, 0.185),
    "brow_gap": (0.185, 0.014, 0.16, 0.22), "brow_thick": (0.032, 0.007, 0.02, 0.05), "iris": (0.16, 0.08, 0.05, 0.4),
    "nose_y": (0.22, 0.025, 0.17, 0.28), "nose_w": (0.105, 0.012, 0.08, 0.135), "gaze": (0.0, 0.016, -0.035, 0.035),
    "mouth_y": (0.48, 0.02, 0.44, 0.53), "mouth_w": (0.225, 0.02, 0.18, 0.27), "lips": (1.0, 0.22, 0.55, 1.5),
    "lip_tone": (0.7, 0.07, 0.5, 0.85), "skin": (0.66, 0.12, 0.4, 0.88), "hair": (0.2, 0.19, 0.03, 0.8),
    "hairline": (-0.58, 0.06, -0.7, -0.46), "parting": (0.0, 0.12, -0.3, 0.3), "temples": (0.4, 0.12, 0.1, 0.65),
    "volume": (0.09, 0.035, 0.02, 0.2), "shine": (0.06, 0.05, 0.0, 0.2), "strands": (4.0, 2.0, 0.0, 9.0),
    "fringe": (0.05, 0.08, 0.0, 0.2), "backdrop": (0.5, 0.25, 0.03, 0.97), "backdrop_u": (0.0, 0.1, -0.25, 0.25),
    "backdrop_v": (0.0, 0.1, -0.25, 0.25), "clothes": (0.4, 0.25, 0.05, 0.95), "shift_x": (0.0, 0.035, -0.09, 0.09),
    "shift_y": (-0.01, 0.03, -0.08, 0.06), "scale": (0.99, 0.04, 0.89, 1.08), "tilt": (0.0, 0.05, -0.14, 0.14),
    "turn": (0.0, 0.03, -0.08, 0.08), "skew": (0.0, 0.015, -0.04, 0.04), "light_u": (0.0, 0.2, -0.45, 0.45),
    "light_v": (-0.08, 0.08, -0.25, 0.12), "contrast": (0.95, 0.1, 0.7, 1.2), "brightness": (0.0, 0.05, -0.12, 0.12),
    "blur": (0.09, 0.06, 0.0, 0.22), "grain": (0.014, 0.01, 0.0, 0.04),
}  # fmt: skip
LONG_HAIR, BALD = 0.4, 0.07


@dataclass(frozen=True)
class SyntheticFaces:
    """Drawn faces and what is true about them.

    Attributes:
        images: uint8 (faces, 48, 48).
        labels: int64 (faces,) in the order of emobench.vocabulary.class_names.BASIC, with label noise.
        true_labels: int64 (faces,) the emotion that was drawn.
        truth: a row a face, a column for each of the 25 facial concepts, value in [0, 1].
    """

    images: np.ndarray
    labels: np.ndarray
    true_labels: np.ndarray
    truth: pd.DataFrame


def synthesize(count: int, seed: int, *, label_noise: float = 0.1) -> SyntheticFaces:
    """Draws faces. Face i depends on the seed and on i only, not on how many are drawn.

    Args:
        count: number of faces, at least 1.
        seed: of all randomness, at least 0.
        label_noise: share of the labels that are drawn anew, evenly from all seven (a seventh of them comes out right).

    Raises:
        UserError: ``count`` or ``label_noise`` is out of range.
    """
    if count < 1:
        raise UserError(f"cannot draw {count} faces; expected at least 1")
    if not 0 <= label_noise <= 1:
        raise UserError(f"label noise {label_noise} is no share; expected 0 to 1")
    # One stream a purpose, each filled face by face: a longer draw starts with the shorter one.
    labels_rng, expression_rng, identity_rng, style_rng, noise_rng = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5)
    )
    labels, true_labels = draw_labels(count, label_noise, labels_rng)
    expression = draw_expressions(true_labels, expression_rng)
    face = {**draw_identities(count, identity_rng, style_rng), **expression}
    images = render(face)
    images += face["grain"][:, None, None] * noise_rng.standard_normal(images.shape, np.float32)
    pixels = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return SyntheticFaces(pixels, labels, true_labels, concept_values(expression))


def draw_labels(count: int, label_noise: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws emotions evenly, and labels that follow them but for the noise; each int64 (faces,), labels first."""
    chances = rng.random((count, 3))
    emotions, anew = np.floor(chances[:, :2].T * len(BASIC)).astype(np.int64)
    return np.where(chances[:, 2] < label_noise, anew, emotions), emotions


def draw_expressions(emotions: np.ndarray, rng: np.random.Generator) -> Columns:
    """Draws the parameters of an expression for each emotion (faces,); each comes as float32 (faces,)."""
    count, width = len(emotions), len(EXPRESSION)
    chances = rng.random((count, 4 * width + 4))
    borrows, occurs, noise, anew = (chances[:, part * width : (part + 1) * width] for part in range(4))
    others = np.floor(chances[:, -4] * len(BASIC)).astype(np.int64)
    strength = STRENGTH[0] + (STRENGTH[1] - STRENGTH[0]) * chances[:, -3]
    stray = np.where(chances[:, -2] < STRAY, np.floor(chances[:, -1] * width), -1)
    drawn = {}
    for column, (name, ((low, high, spread), levels, rates)) in enumerate(EXPRESSION.items()):
        shown = np.where(borrows[:, column] < BORROWED, others, emotions)
        there = occurs[:, column] < np.array(rates)[shown]
        # A uniform deviate of standard deviation 1: ends at sqrt(3), so that no prototype is drowned by a tail.
        deviate = (2 * noise[:, column] - 1) * 3**0.5
        value = there * strength * np.array(levels)[shown] + spread * deviate
        value = np.where(stray == column, low + (high - low) * anew[:, column], value)
        drawn[name] = np.clip(value, low, high).astype(np.float32)
    return _coupled(drawn)


def _coupled(drawn: Columns) -> Columns:
    """What a face can't do at once: open lips aren't pressed, an open mouth lowers the jaw, closed eyes aren't wide."""
    shut = 1 - np.minimum(3 * drawn["mouth_open"], 1)
    return {
        **drawn,
        "press": drawn["press"] * shut,
        "jaw": np.maximum(drawn["jaw"], 0.6 * drawn["mouth_open"]),
    }


def draw_identities(count: int, rng: np.random.Generator, style_rng: np.random.Generator) -> Columns:
    """Draws who is seen and how: head, features, tones, hair, pose, light, blur, grain; each float32 (faces,)."""
    normal = rng.standard_normal((count, len(IDENTITY)))
    drawn = {
        name: np.clip(mean + spread * normal[:, column], low, high)
        for column, (name, (mean, spread, low, high)) in enumerate(IDENTITY.items())
    }
    style = style_rng.random((count, 2))
    long, bald = style[:, 0] < LONG_HAIR, style[:, 0] > 1 - BALD
    drawn["hair_length"] = np.where(long, 0.3 + 0.9 * style[:, 1], -0.15 + 0.3 * style[:, 1])
    drawn["hairline"] = np.where(bald, -1.5, drawn["hairline"])
    drawn["volume"] = np.where(bald, 0, drawn["volume"] + 0.04 * long)
    tilt = drawn.pop("tilt")
    drawn |= {"tilt_cos": np.cos(tilt), "tilt_sin": np.sin(tilt)}
    return {name: values.astype(np.float32) for name, values in drawn.items()}


def concept_values(expression: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Computes how much of each facial concept was drawn, from the parameters of the expression.

    Args:
        expression: the parameters, each (faces,).

    Returns:
        A row a face, a column for each concept of the set ``expressions`` in its order, float32 in [0, 1].
    """
    e = dict(expression)
    seen = 1 - e["closed"]
    opening = 0.5 * (e["upper_lid"] + e["lower_lid"])
    down, low_brows = _rise(-e["corners"], 0.15, 0.75), _rise(-e["brow_height"], 0.1, 0.6)
    values = {
        "furrowed brows": _rise(e["brow_knit"], 0.1, 0.65),
        "raised brows": _rise(e["brow_height"], 0.1, 0.6),
        "lowered brows": low_brows,
        "drooping brows": _rise(e["brow_slope"], 0.1, 0.6),
        "relaxed brows": _near(0.2, 0.8, e["brow_height"], e["brow_slope"], 1.2 * e["brow_knit"]),
        "wide open eyes": _rise(opening, 0.1, 0.6) * seen,
        "narrowed eyes": _rise(-opening, 0.1, 0.55) * seen,
        "twinkling or crinkled eyes": _rise(e["crinkle"], 0.15, 0.75),
        "tearful eyes": _rise(e["tear"], 0.1, 0.8),
        "closed eyes": e["closed"],
        "relaxed eyes": _near(0.25, 0.9, e["upper_lid"], e["lower_lid"], e["closed"], e["crinkle"], e["tear"]),
        "tense mouth and jaw": _rise(0.8 * e["clench"] + 0.2 * e["press"], 0.1, 0.7),
        "relaxed mouth and jaw": _near(0.1, 1.0, e["clench"], e["press"], e["jaw"], 0.5 * e["corners"]),
        "smile": _rise(e["corners"], 0.15, 0.75),
        "frown": 0.7 * down + 0.3 * np.maximum(low_brows, _rise(e["brow_knit"], 0.1, 0.65)),
        "downturned mouth": down,
        "slightly open mouth": _bump(e["mouth_open"], 0.12, 0.28, 0.5, 0.75),
        "wide open mouth": _rise(e["mouth_open"], 0.35, 0.75),
        "slight chin raise": _rise(e["chin"], 0.15, 0.7),
        "slightly dropped jaw": _bump(e["jaw"], 0.2, 0.35, 0.5, 0.75),
        "flared nostrils": _rise(e["nostrils"], 0.15, 0.85),
        "tightened facial muscles": _rise(e["tension"], 0.15, 0.95),
        "compressed lips": _rise(e["press"], 0.15, 0.7),
        "elevated upper eyelids": _rise(e["upper_lid"], 0.1, 0.7) * seen,
        "relaxed facial muscles": _near(
            0.1, 0.6, e["tension"], e["clench"], e["brow_knit"], e["press"], e["sneer"], 0.4 * e["brow_height"]
        ),
    }
    return pd.DataFrame({name: values[name].astype(np.float32) for name in concept_set("expressions")})


def _rise(value: np.ndarray, zero: float, one: float) -> np.ndarray:
    """0 up to ``zero``, 1 from ``one`` on, a straight line between."""
    return np.clip((value - zero) / (one - zero), 0, 1)


def _bump(value: np.ndarray, zero: float, one: float, still_one: float, zero_again: float) -> np.ndarray:
    """A little of something: rises, stays, and falls where it is no longer little."""
    return np.minimum(_rise(value, zero, one), 1 - _rise(value, still_one, zero_again))


def _near(one: float, zero: float, *values: np.ndarray) -> np.ndarray:
    """Nearness to the neutral value 0: 1 where the farthest is up to ``one`` away, 0 from ``zero`` away on."""
    return 1 - _rise(np.max(np.abs(values), axis=0), one, zero)


def contact_sheet(seed: int, *, columns: int = 10, zoom: int = 2) -> np.ndarray:
    """Draws a picture of faces with one row an emotion and its name on the left: uint8 (height, width).

    Args:
        seed: as in :func:`synthesize`.
        columns: faces a row.
        zoom: sides of the square that one pixel of a face becomes.
    """
    faces = synthesize(40 * columns, seed, label_noise=0)
    side, margin = SIZE * zoom, 40 * zoom
    sheet = Image.new("L", (margin + columns * side, len(BASIC) * side), 255)
    write = ImageDraw.Draw(sheet)
    for row, name in enumerate(BASIC):
        write.text((4, (row + 0.5) * side), name, fill=0, anchor="lm", font=ImageFont.load_default(8 * zoom))
        for column, position in enumerate(np.flatnonzero(faces.true_labels == row)[:columns]):
            face = Image.fromarray(faces.images[position]).resize((side, side), Image.Resampling.BICUBIC)
            sheet.paste(face, (margin + column * side, row * side))
    return np.asarray(sheet)
