"""Folders of pictures as users have them."""

import numpy as np
import pytest
from PIL import Image
from small_sets import class_folders, picture, write_files, zipped

from emobench.errors import UserError
from emobench.faces.readers import READERS
from emobench.faces.readers.entries import Wanted
from emobench.faces.readers.folder import read_folder
from emobench.vocabulary.class_names import BASIC

COLOUR = Wanted(32, 3)


def expected(content_seed: int) -> np.ndarray:
    """What Pillow makes of a noise picture of 60 x 60."""
    pixels = np.random.default_rng(content_seed).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("top", ["", "my faces/", "a/b/"])
@pytest.mark.parametrize("packed", [False, True])
def test_split_class_file_with_a_top_litter_and_strangers(tmp_path, top, packed) -> None:
    files = class_folders(("Train", "valid", "TEST"))
    litter = {f"__MACOSX/{top}Train/angry/._0.png": b"x", f"{top}.DS_Store": b"x", f"{top}Train/Thumbs.db": b"x"}
    strangers = {"README.md": b"about", f"{top}LICENSE": b"mine"}
    folder = write_files(tmp_path / "set", {top + name: data for name, data in files.items()} | litter | strangers)
    raw = read_folder(zipped(folder) if packed else folder, COLOUR)
    assert (raw.classes, raw.images.shape, raw.images.dtype) == (BASIC, (21, 32, 32, 3), np.uint8)
    assert raw.splits == ["train"] * 7 + ["val"] * 7 + ["test"] * 7
    for image, image_id, label in zip(raw.images, raw.image_ids, raw.labels, strict=True):
        assert image_id.split("/")[1] == BASIC[label]
        np.testing.assert_array_equal(image, expected(list(files).index(image_id)))
    assert any(line.startswith("2 other files skipped (") and "README.md" in line for line in raw.said)


@pytest.mark.parametrize("names", [("Training", "PublicTest", "PrivateTest"), ("train", "validation", "test")])
def test_what_splits_are_called(tmp_path, names) -> None:
    raw = read_folder(write_files(tmp_path / "set", class_folders(names)), COLOUR)
    assert raw.splits == ["train"] * 7 + ["val"] * 7 + ["test"] * 7


@pytest.mark.parametrize("end", [".jpg", ".JPG", ".jpeg", ".png", ".webp"])
def test_class_file_in_each_format(tmp_path, end) -> None:
    raw = read_folder(write_files(tmp_path / "set", class_folders(("",), ("happy", "sad"), end=end)), COLOUR)
    assert (raw.classes, raw.splits, raw.groups) == (("happy", "sad"), ["", ""], None)


def test_upper_case_and_synonyms_are_the_classes(tmp_path) -> None:
    words = ("Anger", "DISGUST", "Fearful", "happiness", "Sadness", "Surprised", "neutral", "Contempt")
    raw = read_folder(write_files(tmp_path / "set", class_folders(("",), words)), COLOUR)
    assert raw.classes == (*BASIC, "contempt")
    assert [raw.classes[label] for label in raw.labels] == [
        {"Anger": "angry", "Fearful": "fear", "happiness": "happy", "Sadness": "sad", "Surprised": "surprise"}.get(
            word, word.lower()
        )
        for word in (name.split("/")[0] for name in raw.image_ids)
    ]
    told = [line for line in raw.said if "synonym" in line]
    assert told == [
        "classes by synonym: anger is angry, fearful is fear, happiness is happy, sadness is sad, surprised is surprise"
    ]


def test_a_stated_order_is_the_order(tmp_path) -> None:
    files = write_files(tmp_path / "set", class_folders(("",), ("happy", "sad", "bored")))
    raw = read_folder(files, Wanted(32, 3, ("bored", "sadness", "happy")))
    assert raw.classes == ("bored", "sad", "happy")
    with pytest.raises(UserError, match="unknown class in .*set: 'bored'; known: sad, happy"):
        read_folder(files, Wanted(32, 3, ("sad", "happy")))


def test_numbered_folders_need_an_order(tmp_path) -> None:
    files = write_files(tmp_path / "set", class_folders(("",), ("1", "2", "3")))
    with pytest.raises(UserError, match=r"the classes are numbers \(1 to 3\); state their names in order"):
        read_folder(files, COLOUR)
    raw = read_folder(files, Wanted(32, 3, ("sad", "happy", "fear")))
    assert dict(zip(raw.image_ids, raw.labels.tolist(), strict=True)) == {"1/0.png": 0, "2/0.png": 1, "3/0.png": 2}
    assert "class numbers count from 1: 1 is sad, 2 is happy, 3 is fear" in raw.said
    with pytest.raises(UserError, match="stays open whether they count from 0 or 1; expected 4 classes"):
        read_folder(files, Wanted(32, 3, ("sad", "happy", "fear", "angry")))
    with pytest.raises(UserError, match="has class number 3; expected 1 to 2"):
        read_folder(files, Wanted(32, 3, ("sad", "happy")))


def test_any_size_and_colour(tmp_path) -> None:
    files = {
        "happy/wide.png": picture(1, (80, 40)),
        "happy/small.png": picture(2, (20, 20)),
        "sad/grey.png": picture(3, (32, 32), channels=1),
    }
    raw = read_folder(write_files(tmp_path / "set", files), COLOUR)
    wide = np.random.default_rng(1).integers(0, 256, (40, 80, 3), dtype=np.uint8)[:, 20:60]
    rows = dict(zip(raw.image_ids, raw.images, strict=True))
    middle = np.asarray(Image.fromarray(wide).resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(rows["happy/wide.png"], middle)
    grey = np.random.default_rng(3).integers(0, 256, (32, 32), dtype=np.uint8)
    np.testing.assert_array_equal(rows["sad/grey.png"], np.repeat(grey[:, :, None], 3, axis=2))
    assert "1 of 3 pictures are not square: the square in their middle is taken" in raw.said
    assert "1 of 3 pictures are smaller than 32x32: enlarged" in raw.said


def test_a_look_reads_one_picture_a_class(tmp_path) -> None:
    files = class_folders(each=2) | {"train/angry/1.png": b"no picture"}
    folder = write_files(tmp_path / "set", files)
    raw = read_folder(folder, Wanted(32, 3, look=True))
    assert len(raw.images) == 7
    assert any("42 pictures of 7 classes" in line for line in raw.said)
    with pytest.raises(UserError, match="train/angry/1.png: can't be decoded"):
        read_folder(folder, COLOUR)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"happy/a.png": b""}, "can't be decoded|has 1 classes"),
        ({"happy/a.png": picture(0), "banner.png": b""}, "unexpected picture .*; expected split/class/file"),
        ({"a.png": b""}, "unexpected picture a.png"),
        ({"train/a.png": b"", "test/b.png": b""}, "unexpected picture test/b.png"),
        ({"train/happy/a.png": b"", "sad/b.png": b""}, "sad/b.png is in no split, others are"),
        ({"happy/a.png": picture(0)}, r"has 1 classes \(happy\); expected 2 to 256"),
        ({"notes.txt": b""}, "no picture in it; expected files that end in .jpg"),
        ({"happy/a.png": b"GIF89a", "sad/b.png": b""}, "happy/a.png: can't be decoded"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, files, message) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_folder(write_files(tmp_path / "set", files), COLOUR)
    assert len(str(caught.value).splitlines()) == 1


def test_missing_empty_and_packed_otherwise(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "faces.tar.gz").write_bytes(b"\x1f\x8b")
    for name, message in {
        "nowhere": "no file or folder .*nowhere",
        "empty": "empty is empty; expected pictures or a table",
        "faces.tar.gz": "is no zip; expected a zip, or what is packed in it as a folder",
    }.items():
        with pytest.raises(UserError, match=message):
            read_folder(tmp_path / name, COLOUR)


def test_sources_by_name() -> None:
    assert READERS["folder"] is read_folder
    with pytest.raises(UserError, match="image source 'zip'; known: folder, table, fer2013, rafdb, jaffe, kdef"):
        READERS["zip"]
