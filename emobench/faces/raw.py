"""Images as they came, before the audit, and a small share of them for smoke runs."""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class RawImages:
    """Labelled images in file order: train, val, test.

    Attributes:
        images: uint8 (n, 48, 48).
        image_ids: the path inside the archive (``train/angry/Training_1.jpg``), ``csv/000123`` by row of the csv, or
            ``synthetic/000123``.
        labels: int64 (n,), in the order of emobench.vocabulary.CLASSES.
        splits: ``train``, ``val`` or ``test`` for each image.
    """

    images: np.ndarray
    image_ids: list[str]
    labels: np.ndarray
    splits: list[str]

    def take(self, rows: np.ndarray) -> "RawImages":
        """The images of these rows only."""
        ids, splits = ([values[row] for row in rows] for values in (self.image_ids, self.splits))
        return RawImages(self.images[rows], ids, self.labels[rows], splits)


def stratified_rows(raw: RawImages, limit: int, seed: int) -> np.ndarray:
    """Chooses images over all splits and classes in proportion, at least one of each that there is (Webster's method).

    Args:
        raw: the images.
        limit: how many; 0 for all.
        seed: decides which. A larger limit adds to what a smaller one chose.

    Returns:
        int64 rows in file order.
    """
    count = len(raw.images)
    if not 0 < limit < count:
        return np.arange(count)
    cells = pd.DataFrame({"split": raw.splits, "label": raw.labels})
    groups = cells.iloc[np.random.default_rng(seed).permutation(count)].groupby(["split", "label"])
    position, size = groups.cumcount().sort_index(), groups["label"].transform("size").sort_index()
    turn = np.where(position == 0, -1.0, (position + 0.5) / size)
    return np.sort(np.argsort(turn, kind="stable")[:limit])
