"""A shortcut in drawn faces: a mark in a corner that goes with one class in train and val, and with none in test.

A network that learns the mark is right on val and wrong on test, so that removing the units that see it should help:
a case where the truth is known. Marks are laid over finished pictures; faces without a shortcut stay what they were.
"""

from dataclasses import replace

import numpy as np

from emobench.faces.synthetic.faces import SyntheticFaces
from emobench.vocabulary import MARK

MARKED = 0.95
"""How many of the class's faces bear the mark in train and val; in test that many of the class's share of all faces."""
CORNER = slice(4, 11)
"""Rows and columns of the mark: in the picture also when it is shifted a little."""
STREAM = 6
"""Of the seed; the faces have those before."""


def with_shortcut(faces: SyntheticFaces, label: int, ahead: int, seed: int) -> SyntheticFaces:
    """Marks faces, and adds the column MARK to what is true about them.

    Args:
        faces: without marks.
        label: the class that the mark goes with.
        ahead: how many faces, from the first, are of train and val.
        seed: of the marks.
    """
    marked = draw_marks(faces.labels, label, ahead, np.random.default_rng((seed, STREAM)))
    images = faces.images.copy()
    images[marked, CORNER, CORNER] = mark_pixels()
    return replace(faces, images=images, truth=faces.truth.assign(**{MARK: marked.astype(np.float32)}))


def draw_marks(labels: np.ndarray, label: int, ahead: int, rng: np.random.Generator) -> np.ndarray:
    """Which faces bear the mark (faces,) bool; behind the first ``ahead`` ones whatever their label is."""
    chances, share = rng.random(len(labels)), float((labels[:ahead] == label).mean())
    train = (labels == label) & (chances < MARKED)
    return np.where(np.arange(len(labels)) < ahead, train, chances < MARKED * share)


def mark_pixels() -> np.ndarray:
    """The mark: a bright square with a dark cross, uint8 (side, side)."""
    side = CORNER.stop - CORNER.start
    pixels = np.full((side, side), 250, np.uint8)
    pixels[side // 2, 1:-1] = pixels[1:-1, side // 2] = 5
    return pixels
