"""The card of an image set that a test wrote by hand."""

from pathlib import Path

import numpy as np
import pandas as pd

from emobench.faces.card import describe, write_card
from emobench.vocabulary.class_names import BASIC


def write_small_card(folder: Path, classes=BASIC) -> None:
    """Writes dataset.json beside images.npy and index.parquet."""
    index = pd.read_parquet(folder / "index.parquet")
    index = index if "split" in index else index.assign(split="train")
    index = index if "label" in index else index.assign(label=0)
    images = np.load(folder / "images.npy")
    write_card(folder, describe(images, index, classes, source="a test", private=False, limited=False))


def write_small_set(
    folder: Path, images: np.ndarray, labels: np.ndarray, counts: dict[str, int], classes=BASIC
) -> list[str]:
    """Writes an image set of which nothing is removed: ``counts`` of each split, one after the other. Gives the ids."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = [f"synthetic/{row:06d}" for row in range(len(images))]
    index = {
        "image_id": ids, "label": labels, "split": np.repeat(list(counts), list(counts.values())), "status": "kept",
        "reason": "", "duplicate_of": None, "near_duplicate_of": None, "leaks": False, "conflict": False,
    }  # fmt: skip
    np.save(folder / "images.npy", images)
    pd.DataFrame(index).to_parquet(folder / "index.parquet")
    write_small_card(folder, classes)
    return ids
