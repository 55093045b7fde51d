"""The audit against plain loops, and on the real archive against its published counts."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_fer2013 import noise

from emobench.faces.audit import audit_images, audit_summary, removed_sheet
from emobench.faces.imageset import INDEX_COLUMNS
from emobench.faces.raw import RawImages, stratified_rows
from emobench.faces.readers.fer2013 import read_fer2013
from emobench.vocabulary import SPLITS
from emobench.vocabulary.class_names import BASIC

ARCHIVE = Path(__file__).parents[2].parent / "shared" / "fer2013" / "archive.zip"


def raw_images(seed: int = 0) -> RawImages:
    """120 images of noise with many copies, some of them blank."""
    rng = np.random.default_rng(seed)
    images = noise(80, seed)[rng.integers(0, 80, 120)]
    images[rng.integers(0, 120, 5)] = 0
    return RawImages(
        images,
        [f"synthetic/{row:06d}" for row in range(120)],
        rng.integers(0, 3, 120),
        ["train"] * 70 + ["val"] * 20 + ["test"] * 30,
    )


@pytest.mark.parametrize("seed", range(3))
def test_index_against_a_loop_over_all_pairs(seed) -> None:
    raw = raw_images(seed)
    index = audit_images(raw, 3)
    assert tuple(index.columns) == INDEX_COLUMNS
    earlier = {"train": (), "val": ("train",), "test": ("train", "val")}
    for row, found in enumerate(index.itertuples()):
        copies = [other for other in range(120) if (raw.images[other] == raw.images[row]).all()]
        assert (found.image_id, found.label, found.split) == (raw.image_ids[row], raw.labels[row], raw.splits[row])
        assert found.duplicate_of == raw.image_ids[copies[0]] if copies[0] < row else pd.isna(found.duplicate_of)
        assert found.leaks == any(raw.splits[other] in earlier[found.split] for other in copies)
        assert found.conflict == (len({raw.labels[other] for other in copies}) > 1)
        blank = not raw.images[row].any()
        assert found.status == ("removed" if blank else "kept")
        assert found.reason == "blank" if blank else pd.isna(found.reason)
    assert index["near_duplicate_of"].isna().all()


def test_summary_against_loops() -> None:
    raw = raw_images()
    index = audit_images(raw, 3)
    summary = audit_summary(index, BASIC)
    groups: dict[bytes, list[int]] = {}
    for row, image in enumerate(raw.images):
        groups.setdefault(image.tobytes(), []).append(row)
    several = [rows for rows in groups.values() if len(rows) > 1]
    spanning = [
        rows for rows in several if raw.splits[rows[0]] == "train" and {raw.splits[row] for row in rows} != {"train"}
    ]
    of_train = [raw.splits[row] for rows in spanning for row in rows if raw.splits[row] != "train"]
    blank = [raw.splits[row] for row in range(120) if not raw.images[row].any()]
    assert summary["images"] == {"total": 120, "train": 70, "val": 20, "test": 30}
    assert summary["classes"]["val"]["fear"] == int((raw.labels[70:90] == 2).sum())
    assert summary["removed"] == {"total": len(blank)} | {split: blank.count(split) for split in SPLITS}
    assert summary["removed_by_reason"]["blank"] == summary["removed_by_reason"]["total"] == len(blank)
    assert summary["exact_copy_groups"] == len(several)
    assert summary["extra_exact_copies"] == sum(len(rows) - 1 for rows in several)
    assert summary["groups_across_train_and_others"] == len(spanning)
    assert summary["copies_of_train"] == {"total": len(of_train)} | {s: of_train.count(s) for s in SPLITS[1:]}
    conflicts = [rows for rows in several if len(set(raw.labels[rows])) > 1]
    assert summary["conflict_groups"] == len(conflicts) > 0
    assert summary["conflict_images"] == sum(map(len, conflicts))
    assert summary["near_copies"]["total"] == 0
    json.dumps(summary, allow_nan=False)


def test_nothing_is_removed_on_demand_and_text_columns_survive_parquet(tmp_path) -> None:
    raw = raw_images()
    index = audit_images(raw, 3, remove=False)
    assert (index["status"] == "kept").all()
    index.to_parquet(tmp_path / "index.parquet", index=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "index.parquet"), index)


def test_near_copy_of_train_is_named_and_counted() -> None:
    ramp = np.add.outer(np.arange(48), 3 * np.arange(48))
    images = np.stack([ramp, ramp.T, np.minimum(ramp + 9, 255)]).clip(0, 255).astype(np.uint8)
    images = np.stack([images[0], images[2], images[2], images[1]])
    index = audit_images(RawImages(images, list("abcd"), np.zeros(4, np.int64), ["train", "val", "test", "test"]), 4)
    assert index["near_duplicate_of"].fillna("").tolist() == ["", "a", "a", ""]
    assert index["leaks"].tolist() == [False, False, True, False]
    summary = audit_summary(index, BASIC)
    assert summary["near_copies"] == {"total": 2, "train": 0, "val": 1, "test": 1}
    assert summary["near_copies_of_train"] == {"total": 2, "val": 1, "test": 1}


def test_sheet_shows_the_removed_images_only() -> None:
    raw = raw_images()
    index = audit_images(raw, 3)
    removed = int((index["status"] == "removed").sum())
    sheet = np.asarray(removed_sheet(raw.images, index, columns=2))
    assert sheet.shape == (-(-removed // 2) * 114, 2 * 102)
    assert (sheet[1:95, 1:95] == 0).all()
    empty = np.asarray(removed_sheet(raw.images, audit_images(raw, 3, remove=False)))
    assert (empty == 255).all()


@pytest.mark.parametrize("limit", [0, 5, 21, 60, 119, 120, 500])
def test_stratified_rows(limit) -> None:
    raw = raw_images()
    rows = stratified_rows(raw, limit, seed=1)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert len(rows) == (min(limit, 120) or 120)
    assert rows.tolist() == stratified_rows(raw, limit, seed=1).tolist()
    cells = {(split, label): 0 for split, label in zip(raw.splits, raw.labels.tolist(), strict=True)}
    chosen = raw.take(rows)
    assert [raw.image_ids[row] for row in rows] == chosen.image_ids
    for split, label in zip(chosen.splits, chosen.labels.tolist(), strict=True):
        cells[split, label] += 1
    if limit >= 21:
        for (split, label), count in cells.items():
            share = sum(s == split and x == label for s, x in zip(raw.splits, raw.labels.tolist(), strict=True)) / 120
            assert abs(count - share * len(rows)) <= 1
    if 0 < limit < 119:
        assert set(rows) <= set(stratified_rows(raw, limit + 1, seed=1))
        assert rows.tolist() != stratified_rows(raw, limit, seed=2).tolist()


@pytest.fixture(scope="module")
def real_index():
    if not ARCHIVE.is_file():
        pytest.skip("no ../shared/fer2013/archive.zip here")
    raw = read_fer2013(ARCHIVE)
    return audit_images(raw, 3)


@pytest.mark.real
@pytest.mark.slow
def test_counts_of_the_real_archive(real_index) -> None:
    summary = audit_summary(real_index, BASIC)
    assert summary["images"] == {"total": 35887, "train": 28709, "val": 3589, "test": 3589}
    assert summary["classes"]["val"] == {"total": 3589} | dict(
        zip(BASIC, (467, 56, 496, 895, 653, 415, 607), strict=True)
    )
    assert (summary["exact_copy_groups"], summary["extra_exact_copies"]) == (1516, 1853)
    assert (summary["groups_across_train_and_others"], summary["copies_of_train"]["total"]) == (531, 568)
    assert summary["conflict_groups"] == 57


@pytest.mark.real
@pytest.mark.slow
def test_placeholders_of_the_real_archive(real_index) -> None:
    # Counted by eye on contact sheets of all images in which no face is found.
    removed = real_index[real_index["status"] == "removed"]
    assert len(removed) == 69
    assert removed["split"].value_counts().to_dict() == {"train": 58, "test": 6, "val": 5}
