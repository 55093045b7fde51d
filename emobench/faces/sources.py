"""The images that params ask for: drawn here, or read from what the user brought."""

from pathlib import Path
from typing import Any

import pandas as pd

from emobench.faces.raw import RawImages
from emobench.faces.readers import READERS
from emobench.faces.readers.entries import Wanted
from emobench.faces.splitting import with_splits
from emobench.faces.synthetic.faces import synthesize
from emobench.faces.synthetic.shortcut import with_shortcut
from emobench.settings.data import Data, DrawnFaces, Faces, Fer2013
from emobench.vocabulary import SPLITS
from emobench.vocabulary.class_names import BASIC, stated_classes


def source_images(data: Data, seed: int, *, root: Path = Path()) -> tuple[RawImages, pd.DataFrame | None]:
    """All images with their splits, and what is true about them where it is known.

    Args:
        data: section data of params.yaml.
        seed: decides on drawn faces, and on splits that are not given.
        root: what ``data.input`` is relative to.

    Raises:
        UserError: the input is not what its source needs.
    """
    if data.source == "synthetic":
        return _synthetic(data, seed)
    return with_splits(READERS[data.source](root / data.input, _wanted(data)), seed), None


def look_at(data: Data, path: Path, *, sample: int = 0) -> RawImages:
    """Reads as much of an input as tells whether it can be read: all names, the classes, and one picture of each.

    Args:
        data: section data of params.yaml.
        path: the input; drawn faces need none.
        sample: how many val pictures are read too, after the one of each class (fewer if there are not so many).

    Raises:
        UserError: it is not what ``data.source`` needs.
    """
    if data.source == "synthetic":
        faces = synthesize(max(sample, 1), 0, label_noise=data.synthetic.label_noise)
        ids = [f"synthetic/{row:06d}" for row in range(len(faces.images))]
        return RawImages(faces.images, ids, faces.labels, ["train"] * len(ids), said=("drawn faces of 7 classes",))
    return READERS[data.source](path, _wanted(data, look=True, sample=sample))


def stated_classes_of(data: Data) -> tuple[str, ...]:
    """The classes, where they are known before a picture is read; else none."""
    return BASIC if data.source == "synthetic" else stated_classes(data.classes)


def source_in_words(data: Data) -> dict[str, Any]:
    """Keys ``source`` and ``private`` of the data set's card."""
    drawn = data.source == "synthetic"
    words = "synthetic faces" if drawn else f"{data.source}: {Path(data.input).name}"
    return {"source": words, "private": not drawn}


def _wanted(data: Faces | Fer2013, *, look: bool = False, sample: int = 0) -> Wanted:
    labels = data.labels if data.source == "fer2013" else "file"
    return Wanted(data.size, data.channels, tuple(data.classes), labels, look, sample)


def _synthetic(data: DrawnFaces, seed: int) -> tuple[RawImages, pd.DataFrame]:
    """Draws the synthetic faces of all splits."""
    splits = [split for split in SPLITS for _ in range(getattr(data.synthetic, split))]
    faces = synthesize(len(splits), seed, label_noise=data.synthetic.label_noise)
    if name := data.synthetic.shortcut:
        ahead = len(splits) - data.synthetic.test
        faces = with_shortcut(faces, BASIC.index(name), ahead, seed)
    ids = [f"synthetic/{row:06d}" for row in range(len(splits))]
    return RawImages(faces.images, ids, faces.labels, splits), faces.truth
