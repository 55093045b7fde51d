"""The prepared image set: pixels, index, card, and the row selections that stages use.

``images.npy`` is uint8 (n, size, size), or (n, size, size, 3) if it has colours, and is mapped read-only: hardlinked
cache files are writable for root.
Row i of every table and array of a benchmark is image i of its index.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from emobench.errors import UserError, unknown_name
from emobench.faces.card import DatasetCard, check_images, images_digest, read_card
from emobench.functional.linking import linked_parts
from emobench.stored import existing, read_array
from emobench.stored_tables import read_table
from emobench.vocabulary import SPLITS
from emobench.vocabulary.class_names import BASIC

INDEX_COLUMNS = (
    "image_id", "label", "split", "status", "reason", "duplicate_of", "near_duplicate_of", "leaks", "conflict",
)  # fmt: skip
"""Where subjects are known, a column ``group`` follows."""


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 (n, size, size) or (n, size, size, 3), their index, a row an image, and the card on disk.

    Without a card, as for images that are only in memory, the classes are FER2013's.
    """

    images: np.ndarray
    index: pd.DataFrame
    card: DatasetCard | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.card.classes if self.card else BASIC

    @property
    def labels(self) -> np.ndarray:
        """Labels (n,) int64, places in :attr:`classes`."""
        return self.index["label"].to_numpy(np.int64, copy=True)

    @property
    def kept(self) -> np.ndarray:
        """Which images the audit kept (n,) bool."""
        return (self.index["status"] == "kept").to_numpy(bool)

    def rows(self, split: str, *, removed: bool = False) -> np.ndarray:
        """Row numbers of a split in index order; with ``removed`` also those the audit removed."""
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        mask = (self.index["split"] == split).to_numpy(bool)
        return np.flatnonzero(mask if removed else mask & self.kept)

    def probe_rows(self, probe: str) -> np.ndarray:
        """Row numbers of the probe images. ``train_unique``: kept train images without exact copies."""
        if probe != "train_unique":
            return self.rows(probe)
        rows = self.rows("train")
        return rows[self.index["duplicate_of"].isna().to_numpy()[rows]]

    def evaluation_rows(self) -> dict[str, np.ndarray]:
        """Row numbers of the image sets that results are reported on.

        ``val`` and ``test``: kept images. ``test_noleaks``: of these, no copy of a train or val image. ``val_test``:
        the published protocol, all images of both splits, also what the audit removed.
        """
        test = self.rows("test")
        leaks = self.index["leaks"].to_numpy(bool)
        both = np.sort(np.concatenate([self.rows("val", removed=True), self.rows("test", removed=True)]))
        return {"val": self.rows("val"), "test": test, "test_noleaks": test[~leaks[test]], "val_test": both}

    def together(self) -> np.ndarray:
        """Which images must not be parted (n,): the same number for exact and near copies, and for one subject's."""
        index, own = self.index, np.arange(len(self.index))
        place = pd.Series(own, index["image_id"])
        links = [
            index[name].map(place).fillna(pd.Series(own)).to_numpy(np.int64)
            for name in ("duplicate_of", "near_duplicate_of")
        ]
        if "group" in index:
            known = index["group"].fillna("").astype(str)
            first = pd.Series(own).groupby(known.to_numpy()).transform("min").to_numpy()
            links.append(np.where(known == "", own, first))
        return linked_parts(*links)

    def digest(self) -> str:
        """Tells one image set from another. Read from the card, which was written with the pixels."""
        return self.card.digest if self.card else images_digest(self.images, self.index)


def load_imageset(folder: Path) -> ImageSet:
    """Maps ``images.npy`` read-only and reads ``index.parquet`` and the card.

    Raises:
        UserError: a file is missing, or they disagree.
    """
    for name in ("images.npy", "index.parquet"):
        existing(folder / name, "prepare")
    path, index = folder / "images.npy", read_table(folder / "index.parquet")
    images = read_array(path, "prepare", dtype=None, shape=None)
    if images.ndim and len(images) != len(index):
        raise UserError(f"{folder}: images.npy has {len(images)} images but index.parquet {len(index)} rows")
    card = read_card(folder)
    shape = (sum(card.counts.values()), card.size, card.size, *([card.channels] if card.channels > 1 else []))
    if images.shape != shape or images.dtype != np.uint8:
        raise UserError(
            f"{folder}: images.npy is {images.dtype} {images.shape}, its card says uint8 {shape}; run prepare again"
        )
    if {"label", "split"} <= set(index):
        check_images(folder, images, index, card)
    return ImageSet(images, index, card)
