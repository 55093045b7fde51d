"""The prepared image set: pixels, index, and the row selections that stages use.

``images.npy`` is uint8 (n, 48, 48) and is mapped read-only: hardlinked cache files are writable for root.
Row i of every table and array of a benchmark is image i of its index.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from emobench.errors import UserError, unknown_name
from emobench.vocabulary import SPLITS

INDEX_COLUMNS = (
    "image_id", "label", "split", "status", "reason", "duplicate_of", "near_duplicate_of", "leaks", "conflict",
)  # fmt: skip


@dataclass(frozen=True)
class ImageSet:
    """Images (n, 48, 48) uint8 and their index, a row an image (columns: INDEX_COLUMNS)."""

    images: np.ndarray
    index: pd.DataFrame

    @property
    def labels(self) -> np.ndarray:
        """Labels (n,) int64, in the order of emobench.vocabulary.CLASSES."""
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

    def digest(self) -> str:
        """sha256 over ids, labels and pixels: tells one image set from another."""
        digest = hashlib.sha256("\n".join(self.index["image_id"]).encode())
        digest.update(self.labels.tobytes())
        digest.update(np.ascontiguousarray(self.images))  # mapped pixels are read through, not copied
        return digest.hexdigest()


def load_imageset(folder: Path) -> ImageSet:
    """Maps ``images.npy`` read-only and reads ``index.parquet``.

    Raises:
        UserError: a file is missing, or the two disagree.
    """
    for name in ("images.npy", "index.parquet"):
        if not (folder / name).is_file():
            raise UserError(f"no {folder / name}; run the stage 'prepare' first (dvc repro prepare)")
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    index = pd.read_parquet(folder / "index.parquet")
    if len(images) != len(index):
        raise UserError(f"{folder}: images.npy has {len(images)} images but index.parquet {len(index)} rows")
    return ImageSet(images, index)
