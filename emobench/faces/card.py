"""The data set's card, ``dataset.json``: written once by prepare, read by everyone who needs classes or sizes."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from emobench.files import write_sealed
from emobench.stored import read_json, unusable
from emobench.vocabulary import SPLITS

FILE = "dataset.json"
NO_CARD = "is no card of an image set"
_BLOCK = 4096


@dataclass(frozen=True)
class DatasetCard:
    """What a prepared image set is.

    Attributes:
        classes: names in label order.
        counts: images by split, also those that the audit removed.
        size: side of the stored pictures, in pixels.
        channels: 1 for grey, 3 for RGB.
        digest: of ids, labels and pixels (:func:`images_digest`).
        source: where the images come from, in words.
        private: they show people; nothing made of their pixels may leave this machine.
        limited: a smoke run's subset.
        groups: whether subjects are known.
    """

    classes: tuple[str, ...]
    counts: dict[str, int]
    size: int
    channels: int
    digest: str
    source: str
    private: bool
    limited: bool
    groups: bool


def describe(
    images: np.ndarray, index: pd.DataFrame, classes: Sequence[str], *, source: str, private: bool, limited: bool
) -> DatasetCard:
    """Makes the card of images uint8 (n, size, size) or (n, size, size, 3) and their index."""
    return DatasetCard(
        tuple(classes),
        {split: int((index["split"] == split).sum()) for split in SPLITS},
        images.shape[1],
        1 if images.ndim == 3 else images.shape[3],
        images_digest(images, index),
        source,
        private,
        limited,
        "group" in index,
    )


def images_digest(images: np.ndarray, index: pd.DataFrame) -> str:
    """sha256 over ids, labels and pixels: tells one image set from another."""
    digest = hashlib.sha256("\n".join(index["image_id"]).encode())
    digest.update(index["label"].to_numpy(np.int64, copy=True).tobytes())
    for start in range(0, len(images), _BLOCK):
        digest.update(np.ascontiguousarray(images[start : start + _BLOCK]).data)
    return digest.hexdigest()


def write_card(folder: Path, card: DatasetCard) -> None:
    """Writes ``dataset.json`` into the folder of the image set."""
    write_sealed(folder / FILE, asdict(card))


def read_card(folder: Path) -> DatasetCard:
    """Reads ``dataset.json``.

    Raises:
        UserError: it is missing or was not written by prepare.
    """
    card = read_json(folder / FILE, "prepare", DatasetCard, NO_CARD)
    if len(set(card.classes)) < max(len(card.classes), 2) or set(card.counts) != set(SPLITS) or card.size < 1:
        raise unusable(folder / FILE, f"classes {card.classes}, counts {card.counts}", "prepare", NO_CARD)
    return card


def check_images(folder: Path, images: np.ndarray, index: pd.DataFrame, card: DatasetCard) -> None:
    """Expects the images and the index that the card tells of.

    Raises:
        UserError: they are others.
    """
    counts = index["split"].value_counts().to_dict()
    if any(counts.get(split, 0) != count for split, count in card.counts.items()):
        raise unusable(folder / "index.parquet", f"its splits are {counts}, {FILE} says {card.counts}", "prepare")
    if not index["label"].isin(range(len(card.classes))).all():
        raise unusable(folder / "index.parquet", f"it has labels beyond the {len(card.classes)} classes", "prepare")
    if images_digest(images, index) != card.digest:
        why = f"its pixels, or the ids and labels in index.parquet, are not those that {FILE} tells of"
        raise unusable(folder / "images.npy", why, "prepare")
