"""The audit of an image set: placeholders, exact and near copies, copies across splits, conflicting labels.

Only placeholders are removed (status ``removed`` with a reason; the row stays). Copies, leaks and conflicts are
flagged, so that metrics can be given with and without them. Exact copies are told by the decoded pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from emobench.faces.copies import exact_copies, near_copies
from emobench.faces.placeholders import REASONS, placeholder_reasons
from emobench.faces.raw import RawImages
from emobench.vocabulary import SPLITS

THUMBNAIL = 96
"""Side of an image on the sheet of removed ones, in pixels."""


def audit_images(raw: RawImages, near_duplicate_distance: int, *, remove: bool = True) -> pd.DataFrame:
    """Builds the index of an image set.

    Args:
        raw: the images in file order.
        near_duplicate_distance: bits, 0 to 64, in which the hashes of two near copies may differ (see
            :func:`emobench.faces.copies.near_copies`).
        remove: whether placeholders are removed, by rules that were tuned on FER2013.

    Returns:
        A row an image, columns INDEX_COLUMNS and, where subjects are known, ``group``. ``duplicate_of`` names the first
        exact copy, ``near_duplicate_of`` the first near copy among the earlier images; both are missing where there is
        none. ``leaks``: a val or test image with a copy in train, or a test image with one in val. ``conflict``: some
        copy has another label.
    """
    count, ids = len(raw.images), np.array(raw.image_ids, dtype=object)
    reasons = placeholder_reasons(raw.images) if remove else np.full(count, "")
    first = exact_copies(raw.images)
    near = near_copies(raw.images, first, near_duplicate_distance)
    ranks = np.array([SPLITS.index(split) for split in raw.splits])
    lowest, highest, earliest = (np.empty(count, np.int64) for _ in range(3))
    lowest[first], highest[first], earliest[first] = raw.labels, raw.labels, ranks
    np.minimum.at(lowest, first, raw.labels)
    np.maximum.at(highest, first, raw.labels)
    np.minimum.at(earliest, first, ranks)
    nothing = np.array(None, object)
    columns = {
        "image_id": ids,
        "label": raw.labels,
        "split": raw.splits,
        "status": np.where(reasons == "", "kept", "removed"),
        "reason": np.where(reasons == "", nothing, reasons),
        "duplicate_of": np.where(first < np.arange(count), ids[first], nothing),
        "near_duplicate_of": np.where(near >= 0, ids[near], nothing),
        "leaks": earliest[first] < ranks,
        "conflict": (lowest != highest)[first],
    } | ({"group": [name or None for name in raw.groups]} if raw.groups else {})
    table = pd.DataFrame(columns)
    # Not inferred: a column in which every value is missing keeps its type through parquet.
    text = [name for name in table if name not in ("label", "leaks", "conflict")]
    return table.astype(dict.fromkeys(text, "string"))


def audit_summary(index: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Counts what the audit found.

    Args:
        index: what :func:`audit_images` returns.
        classes: names in label order.

    Returns:
        Counts, some nested by split, class or reason. ``exact_copy_groups`` counts sets of equal images and
        ``extra_exact_copies`` their images but the first; ``groups_across_train_and_others`` those with a train
        image and a val or test image, ``copies_of_train`` the latter. ``leaks`` has the test copies of val images too.
    """
    by_split = {split: index[index["split"] == split] for split in SPLITS}
    removed = index[index["status"] == "removed"]
    group = index["duplicate_of"].fillna(index["image_id"])
    copied = group.duplicated(keep=False)
    has_train = group.isin(group[index["split"] == "train"])
    copy_of_train = has_train & (index["split"] != "train")
    split_of = index.set_index("image_id")["split"]
    near_to_train = (index["near_duplicate_of"].map(split_of) == "train").fillna(False) & (index["split"] != "train")
    return {
        "images": _counts(index["split"], SPLITS),
        "classes": {
            split: _counts(rows["label"].map(classes.__getitem__), classes) for split, rows in by_split.items()
        },
        "removed": _counts(removed["split"], SPLITS),
        "removed_by_reason": _counts(removed["reason"], REASONS),
        "exact_copy_groups": int(group[copied].nunique()),
        "extra_exact_copies": int(index["duplicate_of"].notna().sum()),
        "groups_across_train_and_others": int(group[copy_of_train].nunique()),
        "copies_of_train": _counts(index["split"][copy_of_train], SPLITS[1:]),
        "leaks": _counts(index["split"][index["leaks"]], SPLITS[1:]),
        "conflict_groups": int(group[index["conflict"]].nunique()),
        "conflict_images": int(index["conflict"].sum()),
        "near_copies": _counts(index["split"][index["near_duplicate_of"].notna()], SPLITS),
        "near_copies_of_train": _counts(index["split"][near_to_train], SPLITS[1:]),
    }


def _counts(values: pd.Series, names: Any) -> dict[str, int]:
    """How often each name occurs, and the total."""
    found = values.value_counts()
    return {"total": len(values)} | {name: int(found.get(name, 0)) for name in names}


def removed_sheet(images: np.ndarray, index: pd.DataFrame, *, columns: int = 12) -> Image.Image:
    """Draws the removed images only, twice their size and with their reasons; a small white sheet if there are none.

    Args:
        images: uint8 (n, size, size) or (n, size, size, 3).
        index: what :func:`audit_images` returns.
        columns: images a row of the sheet.
    """
    rows = np.flatnonzero(index["status"] == "removed")
    width, height = THUMBNAIL + 6, THUMBNAIL + 18
    mode, white = ("L", 255) if images.ndim == 3 else ("RGB", (255, 255, 255))
    sheet = Image.new(mode, (width * max(1, min(columns, len(rows))), height * max(1, -(-len(rows) // columns))), white)
    pen = ImageDraw.Draw(sheet)
    for position, row in enumerate(rows):
        left, top = position % columns * width, position // columns * height
        sheet.paste(Image.fromarray(images[row]).resize((THUMBNAIL, THUMBNAIL)), (left, top))
        pen.text((left, top + THUMBNAIL + 2), index["reason"].iloc[row], fill="black")
        pen.rectangle((left, top, left + THUMBNAIL - 1, top + THUMBNAIL - 1), outline="grey")
    return sheet
