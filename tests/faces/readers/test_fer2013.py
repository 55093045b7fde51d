"""The three forms of FER2013 are read alike, and what is wrong with one is told in one line."""

import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_fer2013 import csv_rows, csv_text, kaggle_files, kaggle_zip, noise, png, write_zip

from emobench.errors import UserError
from emobench.faces.readers.fer2013 import read_fer2013
from emobench.vocabulary import SPLITS
from emobench.vocabulary.class_names import BASIC

SPLIT_OF = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}


def check_kaggle(raw, files) -> None:
    """Each picture has the label that its folder's name says and the split of its file name."""
    assert sorted(raw.image_ids) == sorted(files)
    assert [(SPLITS.index(s), i) for s, i in zip(raw.splits, raw.image_ids, strict=True)] == sorted(
        (SPLITS.index(s), i) for s, i in zip(raw.splits, raw.image_ids, strict=True)
    )
    assert raw.images.dtype == np.uint8
    assert raw.labels.dtype == np.int64
    for image, image_id, label, split in zip(raw.images, raw.image_ids, raw.labels, raw.splits, strict=True):
        _, folder, name = image_id.split("/")
        assert (BASIC[label], split) == (folder, SPLIT_OF[name.split("_")[0]])
        np.testing.assert_array_equal(image, files[image_id])


def test_zip_of_the_kaggle_release(tmp_path) -> None:
    check_kaggle(read_fer2013(kaggle_zip(tmp_path / "a.zip", each=2)), kaggle_files(each=2))


def test_sad_comes_before_neutral_although_its_folder_does_not(tmp_path) -> None:
    raw = read_fer2013(kaggle_zip(tmp_path / "a.zip"))
    label = dict(zip(raw.image_ids, raw.labels.tolist(), strict=True))
    assert (label["train/sad/Training_100.png"], label["train/neutral/Training_100.png"]) == (4, 6)


@pytest.mark.parametrize("top", ["", "archive/", "a/b/"])
def test_folder_and_zip_with_a_common_top_and_litter(tmp_path, top) -> None:
    files = {top + name: png(image) for name, image in kaggle_files().items()}
    files |= {f"__MACOSX/{top}train/angry/._x.png": b"x", f"{top}.DS_Store": b"x", f"{top}train/Thumbs.db": b"x"}
    path = write_zip(tmp_path / "a.zip", files)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "folder")
    check_kaggle(read_fer2013(path), kaggle_files())
    check_kaggle(read_fer2013(tmp_path / "folder"), kaggle_files())


def test_colour_becomes_grey(tmp_path) -> None:
    colour = np.zeros((48, 48, 3), np.uint8)
    colour[..., 1] = 200
    path = kaggle_zip(tmp_path / "a.zip", **{"train/angry/Training_1.jpg": png(colour, "JPEG")})
    raw = read_fer2013(path)
    grey = raw.images[raw.image_ids.index("train/angry/Training_1.jpg")]
    assert abs(grey.astype(int) - round(0.587 * 200)).max() <= 2


@pytest.mark.parametrize("form", ["plain", "zip", "folder", "spaced header"])
def test_csv(tmp_path, form) -> None:
    rows = csv_rows(each=2)
    header = "emotion, Usage, pixels" if form == "spaced header" else "emotion,pixels,Usage"
    text = csv_text([(e, u, p) for e, p, u in rows] if form == "spaced header" else rows, header)
    path = tmp_path / "fer2013.csv"
    path.write_text(text)
    if form == "zip":
        path = write_zip(tmp_path / "a.zip", {"fer2013/fer2013.csv": text.encode(), "fer2013/README": b"about"})
    raw = read_fer2013(tmp_path if form == "folder" else path)
    assert raw.splits == ["train"] * 14 + ["val"] * 14 + ["test"] * 14
    for image, image_id, label, split in zip(raw.images, raw.image_ids, raw.labels, raw.splits, strict=True):
        emotion, pixels, usage = rows[int(image_id.removeprefix("csv/"))]
        assert (label, split) == (emotion, SPLIT_OF[usage])
        assert image.ravel().tolist() == list(map(int, pixels.split()))


GOOD = "7 " * 2303 + "7"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((0, "7 8", "Training"), r"line 23: has 2 pixels; expected 2304"),
        ((0, GOOD + " 7", "Training"), "has 2305 pixels; expected 2304"),
        ((0, GOOD[:-1] + "256", "Training"), "pixel value '256'; expected an integer from 0 to 255"),
        ((0, GOOD[:-1] + "-1", "Training"), "pixel value '-1'"),
        ((0, GOOD[:-1] + "nan", "Training"), "pixel value 'nan'"),
        ((8, GOOD, "Training"), "unknown emotion '8'; expected 0 to 7"),
        ((1.5, GOOD, "Training"), "unknown emotion '1.5'; expected 0 to 7"),
        (("Emotion", GOOD, "Usage"), "line 23: unknown emotion 'Emotion'"),
        ((7, GOOD, "Training"), "no image of class contempt in split val; expected at least one"),
        (("", GOOD, "Training"), "unknown emotion ''"),
        ((0, GOOD, "Test"), "unknown Usage 'Test'; known: Training, PublicTest, PrivateTest"),
        ((0, GOOD, 'Training"'), "Usage"),
    ],
)
def test_bad_csv_row(tmp_path, row, message) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_text(csv_text([*csv_rows(), row]))
    with pytest.raises(UserError, match=message):
        read_fer2013(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lacks the column emotion, pixels; expected emotion, pixels, Usage, separated by comma, .*found nothing"),
        (b"emotion,pixels\n", "no image of class angry in split train"),
        (b"emotion:pixels:Usage\n", "lacks the column emotion, pixels; .*found emotion:pixels:Usage"),
        (b"emotion,pixels,Usage\n0,7 8\n", "line 2: has 2 cells"),
        (b"emotion,pixels,Usage\n", "no image of class angry in split train"),
        (b"emotion,pixels,Usage\n\xff\xfe,,\n", "not a csv text"),
        (b"emotion,pixels,Usage\n0," + b"7" * 200_000 + b",Training\n", "near line 2: not a csv text"),
    ],
)
def test_bad_csv(tmp_path, content, message) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_fer2013(path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    emotion=st.one_of(st.integers(0, 6).map(str), st.text(max_size=3)),
    pixels=st.one_of(
        st.builds(
            lambda count, level, last: " ".join([str(level)] * count + [str(last)]),
            st.integers(2301, 2305),
            st.integers(0, 255),
            st.integers(-5, 300) | st.text(max_size=3),
        ),
        st.text(max_size=20),
    ),
    usage=st.one_of(st.sampled_from(list(SPLIT_OF)), st.text(max_size=12)),
)
def test_any_csv_row_is_read_right_or_refused_in_one_line(tmp_path, emotion, pixels, usage) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_text(csv_text([*csv_rows(), (emotion, pixels, usage)]), encoding="utf-8", newline="")
    raw = error = None
    try:
        raw = read_fer2013(path)
    except UserError as refused:
        error = str(refused)
    if raw is None:
        assert len(error.splitlines()) == 1
    elif len(raw.images) > 21:
        row = raw.image_ids.index("csv/000021")
        assert raw.images[row].ravel().tolist() == list(map(int, pixels.split()))
        assert (raw.labels[row], raw.splits[row]) == (int(float(emotion)), SPLIT_OF[usage.strip()])


def locked(path):
    """Marks every entry of a zip as encrypted."""
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    content = bytearray(path.read_bytes())
    while content[start : start + 4] == b"PK\x01\x02":
        content[start + 8] |= 1
        start += 46 + sum(int.from_bytes(content[start + at : start + at + 2], "little") for at in (28, 30, 32))
    path.write_bytes(content)


def test_damaged_archives(tmp_path) -> None:
    path = kaggle_zip(tmp_path / "a.zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"a\.zip is a truncated or damaged zip"):
        read_fer2013(path)
    path.write_bytes(whole[:1500] + bytes(200) + whole[1700:])
    with pytest.raises(UserError, match="train/angry/Training_100.png: damaged or unsupported zip"):
        read_fer2013(path)
    path.write_bytes(whole)
    locked(path)
    with pytest.raises(UserError, match=r"Training_100.png is locked by a password; expected a zip without one"):
        read_fer2013(path)


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", "train/../../x.png", "C:\\x.png", "..\\x.png"])
def test_entry_outside_the_archive(tmp_path, name) -> None:
    with pytest.raises(UserError, match="points outside the archive"):
        read_fer2013(kaggle_zip(tmp_path / "a.zip", **{name: b"x"}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train/angry/Training_7.png", b"no picture", r"train/angry/Training_7.png: can't be decoded"),
        ("train/angry/Training_7.jpg", png(noise(1)[0], "JPEG")[:300], "Training_7.jpg: can't be decoded"),
        ("train/angry/Training_7.png", bytes(70_000_000), "has 70000000 bytes; expected at most 67108864"),
        ("train/angry/x.png", b"", r"train/angry/x.png: the file name gives no split; expected it to start with Train"),
        ("test/angry/Training_7.png", b"", "expected it to start with PublicTest_ or PrivateTest_"),
        ("train/angry/deep/Training_7.png", b"", "unexpected picture train/angry/deep/Training_7.png; expected sp"),
        (
            "happy/Training_7.png",
            b"",
            "happy/Training_7.png is in no split, others are; expected a split for",
        ),
    ],
)
def test_bad_file_in_the_zip(tmp_path, name, content, message) -> None:
    with pytest.raises(UserError, match=message):
        read_fer2013(kaggle_zip(tmp_path / "a.zip", **{name: content}))


def test_empty_class(tmp_path) -> None:
    files = {name: png(image) for name, image in kaggle_files().items() if "test/fear/PublicTest" not in name}
    with pytest.raises(UserError, match="no image of class fear in split val; expected at least one"):
        read_fer2013(write_zip(tmp_path / "a.zip", files))


def test_twice_the_same_file(tmp_path) -> None:
    path = kaggle_zip(tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("train/angry/Training_100.png", b"again")
    with pytest.raises(UserError, match=r"train/angry/Training_100.png stands there twice"):
        read_fer2013(path)


def test_not_fer2013_at_all(tmp_path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    several = write_zip(tmp_path / "several.zip", {"a.csv": b"", "b.csv": b""})
    other = write_zip(tmp_path / "other.zip", {"happy/a.png": b"", "sad/b.png": b""})
    for name, message in {
        "nowhere.zip": "no file or folder .*nowhere.zip; expected a zip, a folder or a table",
        "note.txt": "is neither a zip, a table (.*) nor a folder",
        "empty": "is empty; expected",
        several.name: r"holds several csv files \(a.csv, b.csv\); expected one, or one named fer2013.csv",
        other.name: "happy/a.png: can't be decoded",
    }.items():
        with pytest.raises(UserError, match=message):
            read_fer2013(tmp_path / name)
