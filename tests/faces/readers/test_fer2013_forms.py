"""What else goes by the name of FER2013: challenge files, FER+ votes, CK+, re-uploads in other sizes and words."""

import numpy as np
import pytest
from small_sets import class_folders, write_files, zipped
from tiny_fer2013 import csv_rows, csv_text, kaggle_files, noise, png

from emobench.errors import UserError
from emobench.faces.readers.entries import Wanted
from emobench.faces.readers.fer2013 import read_fer2013
from emobench.faces.readers.ferplus import EMOTIONS, OTHERS, majority
from emobench.faces.splitting import with_splits
from emobench.vocabulary.class_names import BASIC

OFFICIAL = csv_text(csv_rows())
UNLABELLED = "pixels\n" + "7 " * 2304 + "\n"
NO_USAGE = "\n".join(line.rpartition(",")[0] for line in csv_text(csv_rows(each=3)).splitlines()) + "\n"


def test_the_challenge_files(tmp_path) -> None:
    files = {"train.csv": NO_USAGE, "test.csv": UNLABELLED, "example_submission.csv": "id\n1\n"}
    raw = read_fer2013(write_files(tmp_path / "set", files))
    assert (len(raw.images), set(raw.splits)) == (63, {""})
    assert "train.csv is read; test.csv has no labels and is left out" in raw.said
    split = with_splits(raw, 0)
    assert set(split.splits) == {"train", "val", "test"}
    assert any("80 % train, 10 % val and 10 % test" in line for line in split.said)


def test_icml_face_data_among_others(tmp_path) -> None:
    rows = [(e, u, p) for e, p, u in csv_rows()]
    files = {
        "icml_face_data.csv": csv_text(rows, "emotion, Usage, pixels"),
        "train.csv": NO_USAGE, "test.csv": UNLABELLED, "fer2013.tar.gz": b"\x1f\x8b",
    }  # fmt: skip
    raw = read_fer2013(zipped(write_files(tmp_path / "set", files)))
    assert raw.splits == ["train"] * 7 + ["val"] * 7 + ["test"] * 7
    assert "icml_face_data.csv is read; test.csv, train.csv left out" in raw.said
    assert "1 other files skipped (fer2013.tar.gz)" in raw.said


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_separators_blank_lines_bom_and_floats(tmp_path, separator) -> None:
    text = csv_text([(float(e), p, u) for e, p, u in csv_rows()]).replace(",", separator).replace("\n", "\r\n")
    path = tmp_path / "fer.csv"
    path.write_bytes(f"\ufeff{text}\r\n\r\n".encode())
    raw, plain = read_fer2013(path), tmp_path / "fer2013.csv"
    plain.write_text(OFFICIAL)
    wanted = read_fer2013(plain)
    np.testing.assert_array_equal(raw.images, wanted.images)
    assert (raw.labels.tolist(), raw.splits, raw.image_ids) == (wanted.labels.tolist(), wanted.splits, wanted.image_ids)


def test_ck_plus_has_eight_classes(tmp_path) -> None:
    rows = csv_rows()
    extra = noise(3, seed=5).reshape(3, -1)
    usages = ("Training", "PublicTest", "PrivateTest")
    more = [(7, " ".join(map(str, image)), usage) for image, usage in zip(extra, usages, strict=True)]
    path = tmp_path / "ckextended.csv"
    path.write_text(csv_text([*rows, *more]))
    raw = read_fer2013(path)
    assert (raw.classes, np.bincount(raw.labels).tolist()) == ((*BASIC, "contempt"), [3] * 8)
    assert "emotion 7 is contempt, as in the csv of CK+" in raw.said
    stated = ("a", "b", "c", "d", "e", "f", "g", "h")
    assert read_fer2013(path, Wanted(classes=stated)).classes == stated
    with pytest.raises(UserError, match="unknown emotion '7'; expected 0 to 6"):
        read_fer2013(path, Wanted(classes=BASIC))


def test_a_csv_is_stored_in_any_size_and_colour(tmp_path) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_text(OFFICIAL)
    small, colour = read_fer2013(path, Wanted(24, 1)), read_fer2013(path, Wanted(48, 3))
    assert small.images.shape == (21, 24, 24)
    np.testing.assert_array_equal(colour.images, np.repeat(read_fer2013(path).images[..., None], 3, axis=3))


def votes_text(rows) -> str:
    head = ",".join(("Usage", "Image name", *EMOTIONS, *OTHERS))
    return "\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n"


def ferplus(tmp_path, *, unnamed: int = 0):
    """21 pictures; every emotion of FER+ in train, then unknown, no face, and one with a tie."""
    rows = csv_rows()
    order = sorted(range(21), key=lambda row: rows[row][2] != "Training")
    votes = {}
    for place, row in enumerate(order):
        cells = [0] * 10
        if place == 20:
            cells[0], cells[1] = 5, 5
        else:
            cells[place % 10], cells[(place + 1) % 10] = 7, 3
        votes[row] = cells
    table = [(rows[row][2], "" if row == unnamed else f"fer{row:07d}.png", *votes[row]) for row in range(21)]
    files = {"fer2013.csv": csv_text(rows), "fer2013new.csv": votes_text(table)}
    return write_files(tmp_path / "set", files), votes


def test_ferplus_votes_when_asked_for(tmp_path) -> None:
    folder, votes = ferplus(tmp_path)
    raw = read_fer2013(folder, Wanted(labels="ferplus"))
    words = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")
    expected = {
        f"csv/{row:06d}": words[int(np.argmax(cells))]
        for row, cells in votes.items()
        if row != 0 and np.argmax(cells) < 8 and max(cells) > 5
    }
    assert raw.classes == (*BASIC, "contempt")
    assert {name: raw.classes[label] for name, label in zip(raw.image_ids, raw.labels, strict=True)} == expected
    open_, others = (sum(max(v) <= 5 for v in votes.values()), sum(np.argmax(v) > 7 for v in votes.values()))
    told = next(line for line in raw.said if line.startswith("labels:"))
    assert f"{len(expected)} of 21 pictures kept, the others have no majority ({open_}), no name in FER+ (1)" in told
    assert f"unknown or no face ({others})" in told


def test_ferplus_votes_are_not_used_unasked_and_that_is_said(tmp_path) -> None:
    raw = read_fer2013(ferplus(tmp_path)[0])
    assert (len(raw.images), raw.classes) == (21, BASIC)
    assert "the FER+ votes in fer2013new.csv are not used; params data.labels: ferplus takes them" in raw.said


def test_more_than_half_of_the_votes_win_once_single_ones_are_off() -> None:
    votes = np.array(
        [[6, 4, 0], [5, 5, 0], [1, 1, 1], [3, 1, 1], [4, 3, 3], [0, 2, 8], [4, 2, 2], [5, 2, 2], [0, 0, 0]]
    )
    assert majority(votes).tolist() == [0, -1, -1, 0, -1, 2, -1, 0, -1]


def test_majority_is_the_published_loop() -> None:
    votes = np.random.default_rng(0).multinomial(10, [0.3, 0.3, 0.1, 0.1, 0.05, 0.05, 0.03, 0.03, 0.02, 0.02], 500)
    expected = []
    for cells in votes.tolist():
        kept = [count if count > 1 else 0 for count in cells]
        expected.append(kept.index(max(kept)) if max(kept) > 0.5 * sum(kept) else -1)
    found = majority(votes)
    assert found.tolist() == expected
    assert 0 < (found < 0).sum() < len(votes)


def test_votes_that_do_not_fit(tmp_path) -> None:
    wanted, (folder, _) = Wanted(labels="ferplus"), ferplus(tmp_path)
    text = (folder / "fer2013new.csv").read_text()
    for changed, message in {
        text.rstrip().rpartition("\n")[0]: "fer2013new.csv has 20 rows, fer2013.csv 21; expected as many",
        text.replace("NF", "none"): "lacks the column NF; expected Image name, neutral",
        text.replace("7", "x", 1): "a vote is no whole number",
    }.items():
        (folder / "fer2013new.csv").write_text(changed)
        with pytest.raises(UserError, match=message):
            read_fer2013(folder, wanted)
    (folder / "fer2013new.csv").unlink()
    with pytest.raises(UserError, match="lacks fer2013new.csv; data.labels ferplus needs fer2013.csv and fer2013new"):
        read_fer2013(folder, wanted)


def test_pictures_of_other_size_colour_and_name(tmp_path) -> None:
    folder = write_files(tmp_path / "set", class_folders(("train", "test"), each=4) | {"README.md": b"x"})
    raw = read_fer2013(zipped(folder))
    assert (raw.images.shape, raw.splits) == ((56, 48, 48), ["train"] * 28 + ["test"] * 28)
    split = with_splits(raw, 0)
    assert (split.splits.count("val"), split.splits.count("test")) == (14, 14)
    assert any("no split val: its test is halved into val and test, stratified by class" in line for line in split.said)


def test_eight_classes_as_folders_keep_the_splits_of_their_names(tmp_path) -> None:
    files = {name: png(image) for name, image in kaggle_files().items()}
    files |= {name.replace("angry", "contempt"): data for name, data in files.items() if "angry" in name}
    raw = read_fer2013(write_files(tmp_path / "set", files))
    assert raw.classes == (*BASIC, "contempt")
    assert raw.splits == ["train"] * 8 + ["val"] * 8 + ["test"] * 8
