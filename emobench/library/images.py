"""Image sets in memory: the user's arrays, or drawn faces with known truth."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emobench.errors import UserError
from emobench.faces.audit import audit_images
from emobench.faces.card import describe
from emobench.faces.imageset import ImageSet, load_imageset
from emobench.faces.raw import RawImages
from emobench.faces.splitting import with_splits
from emobench.faces.synthetic.faces import synthesize
from emobench.library.defaults import demo
from emobench.vocabulary import SPLITS
from emobench.vocabulary.class_names import BASIC


def image_set(
    images: np.ndarray, labels: Sequence[int] | np.ndarray, classes: Sequence[str], *,
    splits: Sequence[str] | None = None, groups: Sequence[str] | None = None, seed: int = 0,
) -> ImageSet:  # fmt: skip
    """Pictures with labels and splits; copies among them are found, so that none is in train and test unnoticed.

    Args:
        images: uint8 (n, side, side) if grey, (n, side, side, 3) if RGB.
        labels: (n,) places in ``classes``.
        classes: their names, in label order.
        splits: ``train``, ``val`` or ``test`` of each; without, 80, 10 and 10 % by ``seed``, classes in proportion,
            copies and subjects together.
        groups: the subject of each picture, where known.
        seed: of the splits.

    Returns:
        An image set in the order that was given: ``images``, ``labels``, ``classes``, ``rows("train")``.

    Raises:
        UserError: shapes, labels or splits that don't fit.

    >>> pictures = np.arange(60, dtype=np.uint8).repeat(256).reshape(60, 16, 16)
    >>> faces = image_set(pictures, np.arange(60) % 2, ["sad", "happy"])
    >>> len(faces.rows("train")), len(faces.rows("val")), len(faces.rows("test"))
    (48, 6, 6)
    """
    images, places = np.asarray(images), np.asarray(labels, dtype=np.int64)
    _check(images, places, classes, splits, groups)
    ids = [f"array/{row:06d}" for row in range(len(images))]
    known = list(groups) if groups is not None else None
    raw = RawImages(images, ids, places, list(splits or [""] * len(ids)), tuple(classes), known)
    done = with_splits(raw, seed)
    split = dict(zip(done.image_ids, done.splits, strict=True))
    raw = replace(raw, splits=[split[name] for name in ids])
    index = audit_images(raw, demo().data.audit.near_duplicate_distance, remove=False)
    return ImageSet(images, index, describe(images, index, raw.classes, source="arrays", private=True, limited=False))


def draw_faces(count: int, seed: int = 0, *, label_noise: float = 0.1, **splits: Any) -> tuple[ImageSet, pd.DataFrame]:
    """Draws faces, as the demo's are, of which all is known.

    Args:
        count: how many.
        seed: of the faces and of their splits.
        label_noise: share of the labels that are drawn anew.
        splits: ``splits`` of :func:`image_set`.

    Returns:
        The image set, and what was drawn: a row a face, a column for each of 25 facial concepts, values in [0, 1].

    >>> faces, concepts = draw_faces(70)
    >>> faces.images.shape, concepts.shape
    ((70, 48, 48), (70, 25))
    """
    drawn = synthesize(count, seed, label_noise=label_noise)
    return image_set(drawn.images, drawn.labels, BASIC, seed=seed, **splits), drawn.truth


def load_images(folder: Path | str) -> ImageSet:
    """A benchmark's image set, as the stage prepare wrote it: ``load_images("data/demo")``.

    Raises:
        UserError: a file is missing, or they disagree.
    """
    return load_imageset(Path(folder))


def _check(images: np.ndarray, labels: np.ndarray, classes: Sequence[str], *others: Sequence[str] | None) -> None:
    square = images.ndim in (3, 4) and images.shape[1] == images.shape[2] and images.shape[3:] in ((), (3,))
    if images.dtype != np.uint8 or not square:
        raise UserError(
            f"images are {images.dtype} {images.shape}; expected uint8 (n, side, side) or (n, side, side, 3)"
        )
    for what, values in zip(("labels", "splits", "groups"), (labels, *others), strict=True):
        if values is not None and len(values) != len(images):
            raise UserError(f"there are {len(values)} {what} for {len(images)} images; expected one each")
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise UserError(f"labels are {labels.min()} to {labels.max()}; expected places in the {len(classes)} classes")
    if strange := sorted(set(others[0] or ()) - set(SPLITS)):
        raise UserError(f"unknown split {strange[0]!r}; known: {', '.join(SPLITS)}")
