"""Splits that are made here: seeded, stratified, subjects and copies together."""

import numpy as np
import pytest
from tiny_fer2013 import noise

from emobench.errors import UserError
from emobench.faces.raw import RawImages
from emobench.faces.splitting import with_splits


def raw_images(count: int = 700, *, subjects: int = 0, splits: list[str] | None = None, seed: int = 0) -> RawImages:
    """Small noise pictures, one in five a copy of an earlier one, of the seven classes."""
    rng = np.random.default_rng(seed)
    images = noise(count, seed)[:, :8, :8].copy()
    for row in range(1, count, 5):
        images[row] = images[rng.integers(row)]
    groups = [f"p{rng.integers(subjects)}" for _ in range(count)] if subjects else None
    labels = rng.choice(7, count, p=[0.13, 0.03, 0.14, 0.25, 0.17, 0.11, 0.17])
    return RawImages(images, [f"i{k:05d}" for k in range(count)], labels, splits or [""] * count, groups=groups)


def shares(raw: RawImages, split: str) -> np.ndarray:
    chosen = np.array(raw.splits) == split
    return np.bincount(raw.labels[chosen], minlength=7) / chosen.sum()


def assert_together(raw: RawImages, keys) -> None:
    seen: dict = {}
    for key, split in zip(keys, raw.splits, strict=True):
        if key:
            assert seen.setdefault(key, split) == split


@pytest.mark.parametrize("seed", range(3))
def test_without_splits(seed) -> None:
    raw = with_splits(raw_images(seed=seed), seed)
    counts = [raw.splits.count(split) for split in ("train", "val", "test")]
    assert raw.splits == ["train"] * counts[0] + ["val"] * counts[1] + ["test"] * counts[2]
    assert counts == pytest.approx([560, 70, 70], abs=8)
    everything = np.bincount(raw.labels, minlength=7) / 700
    for split in ("train", "val", "test"):
        np.testing.assert_allclose(shares(raw, split), everything, atol=0.04)
    assert_together(raw, [image.tobytes() for image in raw.images])
    assert raw.said == (
        "the source gives no splits: 80 % train, 10 % val and 10 % test, stratified by class, exact copies together, "
        f"seed {seed}",
        "warning: subjects are unknown, so that one person may be in train and test",
    )


def test_the_seed_decides() -> None:
    first, again, other = (with_splits(raw_images(), seed) for seed in (1, 1, 2))
    assert first.image_ids == again.image_ids
    assert first.image_ids != other.image_ids
    assert sorted(other.image_ids) == raw_images().image_ids


def test_subjects_stay_together_also_where_a_copy_links_two() -> None:
    raw = with_splits(raw_images(subjects=300), 0)
    assert_together(raw, raw.groups)
    assert_together(raw, [image.tobytes() for image in raw.images])
    assert {"train", "val", "test"} == set(raw.splits)
    assert "subjects and exact copies together" in raw.said[0]
    assert not any("unknown" in line for line in raw.said)


def test_unknown_subjects_are_no_one_subject() -> None:
    images = raw_images(subjects=40)
    groups = [name if k % 2 else "" for k, name in enumerate(images.groups)]
    raw = with_splits(RawImages(images.images, images.image_ids, images.labels, images.splits, groups=groups), 0)
    assert len({split for split, name in zip(raw.splits, raw.groups, strict=True) if not name}) == 3
    assert_together(raw, raw.groups)
    assert "warning: the subject of 350 images is unknown" in raw.said


def test_ten_subjects_like_jaffe() -> None:
    labels, groups = np.tile(np.arange(7), 30), [f"p{k % 10}" for k in range(210)]
    raw = with_splits(RawImages(noise(210), [str(k) for k in range(210)], labels, [""] * 210, groups=groups), 0)
    people = [
        len({g for g, s in zip(raw.groups, raw.splits, strict=True) if s == split})
        for split in ("train", "val", "test")
    ]
    assert people == [8, 1, 1]


@pytest.mark.parametrize("given", ["val", "test"])
def test_one_held_out_split_is_halved(given) -> None:
    raw = raw_images(splits=["train"] * 500 + [given] * 200)
    done = with_splits(raw, 0)
    assert done.image_ids[:500] == raw.image_ids[:500]
    assert [done.splits.count(split) for split in ("train", "val", "test")] == pytest.approx([500, 100, 100], abs=3)
    held_out = [image.tobytes() if row >= 500 else b"" for row, image in enumerate(done.images)]
    assert_together(done, held_out)
    other = {"val": "test", "test": "val"}[given]
    assert done.said[0].startswith(f"the source has no split {other}: its {given} is halved into val and test")


def test_given_splits_are_not_touched_but_looked_at() -> None:
    splits = ["train"] * 500 + ["val"] * 100 + ["test"] * 100
    raw = raw_images(splits=splits)
    assert with_splits(raw, 0).image_ids == raw.image_ids
    assert with_splits(raw, 0).said == ()
    known = raw_images(subjects=20, splits=splits)
    assert with_splits(known, 0).said == ("warning: 20 of 20 subjects are in more than one split",)


def test_train_alone_is_split_whole() -> None:
    raw = with_splits(raw_images(splits=["train"] * 700), 0)
    assert raw.splits.count("train") == pytest.approx(560, abs=8)
    assert raw.said[0].startswith("the source gives only the split train: 80 % train")


def test_a_split_that_lacks_a_class_is_warned_of_and_a_train_that_does_is_refused() -> None:
    ids, labels = [f"i{k}" for k in range(30)], np.array([0, 1] * 9 + [0] * 12)
    splits = ["train"] * 14 + ["val"] * 8 + ["test"] * 8
    raw = with_splits(RawImages(noise(30), ids, labels, splits, ("happy", "sad")), 0)
    assert raw.said == ("warning: test lacks sad",)
    with pytest.raises(UserError, match="no image of class sad in split train; expected at least one"):
        with_splits(RawImages(noise(30), ids, np.where(np.arange(30) < 14, 0, labels), splits, ("happy", "sad")), 0)


def test_too_few_to_split() -> None:
    for groups in (None, ["a", "a", "b", "b"]):
        images = RawImages(noise(4), list("abcd"), np.array([0, 1, 0, 1]), [""] * 4, ("happy", "sad"), groups)
        with pytest.raises(UserError, match="too few images or subjects to split: 2; expected at least 3"):
            with_splits(images, 0)
