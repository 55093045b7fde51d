"""Images as they came, before the audit, and a small share of them for smoke runs."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from emobench.errors import UserError
from emobench.vocabulary import SPLITS
from emobench.vocabulary.class_names import BASIC


@dataclass(frozen=True)
class RawImages:
    """Labelled images in file order: train, val, test, and what stands in no split last.

    Attributes:
        images: uint8 (n, size, size) if grey, (n, size, size, 3) if RGB.
        image_ids: the path inside the archive (``train/angry/Training_1.jpg``), ``csv/000123`` by row of the csv, or
            ``synthetic/000123``.
        labels: int64 (n,), places in ``classes``.
        splits: ``train``, ``val`` or ``test`` for each image; empty where the source doesn't say.
        classes: names in label order.
        groups: the subject of each image, empty where unknown; None where the source knows of none.
        said: sentences on what was found and assumed.
        counts: how many there are of each split, where only some were read.
    """

    images: np.ndarray
    image_ids: list[str]
    labels: np.ndarray
    splits: list[str]
    classes: tuple[str, ...] = BASIC
    groups: list[str] | None = None
    said: tuple[str, ...] = ()
    counts: dict[str, int] | None = None

    def take(self, rows: np.ndarray) -> "RawImages":
        """The images of these rows only."""
        ids, splits = ([values[row] for row in rows] for values in (self.image_ids, self.splits))
        groups = self.groups and [self.groups[row] for row in rows]
        return replace(
            self, images=self.images[rows], image_ids=ids, labels=self.labels[rows], splits=splits, groups=groups
        )

    def saying(self, *sentences: str) -> "RawImages":
        """The same images with more to say."""
        return replace(self, said=(*self.said, *sentences))


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


def missing_classes(raw: RawImages) -> dict[str, list[str]]:
    """For each split the classes of which it has no image."""
    seen = set(zip(raw.splits, raw.labels.tolist(), strict=True))
    return {split: [name for label, name in enumerate(raw.classes) if (split, label) not in seen] for split in SPLITS}


def check_classes(where: str, raw: RawImages, splits: tuple[str, ...] = SPLITS) -> None:
    """Refuses a set in which one of ``splits`` has no image of some class."""
    missing = missing_classes(raw)
    for split in splits:
        for name in missing[split]:
            raise UserError(f"{where}: no image of class {name} in split {split}; expected at least one")
