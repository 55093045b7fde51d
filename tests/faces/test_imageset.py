import numpy as np
import pandas as pd
import pytest
from small_card import write_small_card

from emobench.errors import UserError
from emobench.faces.imageset import INDEX_COLUMNS, ImageSet, load_imageset
from emobench.vocabulary.class_names import BASIC


def small(**changes) -> ImageSet:
    """Six images: train, train (copy of 0), val, val (removed), test, test (leaks)."""
    table = {
        "image_id": [f"i{number}" for number in range(6)],
        "label": [0, 0, 3, 4, 5, 6],
        "split": ["train", "train", "val", "val", "test", "test"],
        "status": ["kept", "kept", "kept", "removed", "kept", "kept"],
        "reason": [None, None, None, "blank", None, None],
        "duplicate_of": [None, "i0", None, None, None, "i0"],
        "near_duplicate_of": [None] * 6,
        "leaks": [False, False, False, False, False, True],
        "conflict": [False] * 6,
    }
    return ImageSet(np.zeros((6, 48, 48), np.uint8), pd.DataFrame(table | changes)[list(INDEX_COLUMNS)])


def test_rows_of_splits_and_protocols() -> None:
    images = small()
    assert images.rows("val").tolist() == [2]
    assert images.rows("val", removed=True).tolist() == [2, 3]
    assert images.probe_rows("train_unique").tolist() == [0]
    assert images.probe_rows("train").tolist() == [0, 1]
    rows = {name: chosen.tolist() for name, chosen in images.evaluation_rows().items()}
    assert rows == {"val": [2], "test": [4, 5], "test_noleaks": [4], "val_test": [2, 3, 4, 5]}
    with pytest.raises(UserError, match="unknown split 'dev'; known: train, val, test"):
        images.rows("dev")


def test_the_digest_tells_images_labels_and_ids_apart() -> None:
    images = small()
    other = ImageSet(images.images.copy(), images.index)
    assert other.digest() == images.digest()
    other.images[5, 47, 47] = 1
    digests = {images.digest(), other.digest(), small(label=[1, 0, 3, 4, 5, 6]).digest()}
    assert len(digests | {small(image_id=list("abcdef")).digest()}) == 4


def test_loading_maps_read_only_and_checks(tmp_path) -> None:
    with pytest.raises(UserError, match="run the stage 'prepare' first"):
        load_imageset(tmp_path)
    np.save(tmp_path / "images.npy", small().images)
    small().index.to_parquet(tmp_path / "index.parquet")
    with pytest.raises(UserError, match=r"no .*dataset.json; run the stage 'prepare' first"):
        load_imageset(tmp_path)
    write_small_card(tmp_path)
    loaded = load_imageset(tmp_path)
    assert not loaded.images.flags.writeable
    assert (loaded.digest(), loaded.classes) == (small().digest(), BASIC)
    np.save(tmp_path / "images.npy", small().images[:5])
    with pytest.raises(UserError, match="has 5 images but index.parquet 6 rows"):
        load_imageset(tmp_path)
    np.save(tmp_path / "images.npy", np.zeros((6, 48, 48, 3), np.uint8))
    with pytest.raises(UserError, match=r"images.npy is uint8 \(6, 48, 48, 3\), its card says uint8 \(6, 48, 48\)"):
        load_imageset(tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(UserError, match="is no card of an image set"):
        load_imageset(tmp_path)


def test_the_digest_is_read_from_the_card_and_not_computed_again(tmp_path, monkeypatch) -> None:
    np.save(tmp_path / "images.npy", small().images)
    small().index.to_parquet(tmp_path / "index.parquet")
    write_small_card(tmp_path)
    expected = small().digest()
    monkeypatch.setattr("emobench.faces.imageset.images_digest", None)
    assert load_imageset(tmp_path).digest() == expected


def test_copies_and_one_subjects_pictures_are_together() -> None:
    near = [None, None, None, None, "i2", None]
    parts = small(near_duplicate_of=near).together()
    assert [set(np.flatnonzero(parts == part)) for part in dict.fromkeys(parts)] == [{0, 1, 5}, {2, 4}, {3}]
    images = small(near_duplicate_of=near)
    subjects = ImageSet(images.images, images.index.assign(group=["", "a", "", "b", "", "b"])).together()
    assert [set(np.flatnonzero(subjects == part)) for part in dict.fromkeys(subjects)] == [{0, 1, 3, 5}, {2, 4}]
