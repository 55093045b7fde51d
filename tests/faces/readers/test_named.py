"""RAF-DB, JAFFE and KDEF, in the form in which their owners give them out."""

import pytest
from small_sets import picture, write_files, zipped

from emobench.errors import UserError
from emobench.faces.readers import READERS
from emobench.faces.readers.entries import Wanted
from emobench.vocabulary.class_names import BASIC

WANTED = Wanted(48, 3)
RAFDB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
LIST = "EmoLabel/list_patition_label.txt"


def rafdb(end: str = "_aligned") -> dict[str, bytes | str]:
    names = [(split, number) for split in ("train", "test") for number in range(1, 8)]
    files = {f"Image/aligned/{split}_{n:05d}{end}.jpg": picture(n, form="JPEG") for split, n in names}
    return {**files, LIST: "".join(f"{split}_{n:05d}.jpg {n}\n" for split, n in names)}


def test_rafdb_counts_from_one_in_its_own_order(tmp_path) -> None:
    files = rafdb() | {"Image/original/train_00001.jpg": b"not read"}
    raw = READERS["rafdb"](zipped(write_files(tmp_path / "set", {f"basic/{k}": v for k, v in files.items()})), WANTED)
    assert (raw.classes, raw.splits) == (BASIC, ["train"] * 7 + ["test"] * 7)
    for name, label in zip(raw.image_ids, raw.labels, strict=True):
        assert raw.classes[label] == RAFDB[int(name.split("_")[1]) - 1]
    assert "the 14 aligned pictures are taken, 1 others are not" in raw.said
    plain = READERS["rafdb"](write_files(tmp_path / "plain", rafdb("")), WANTED)
    assert plain.labels.tolist() == raw.labels.tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {LIST: "train_00001.jpg 8\n"},
            "line 1: 'train_00001.jpg 8'; expected like .*, classes 1 to 7",
        ),
        ({LIST: "train_00001.jpg 0\n"}, "classes 1 to 7"),
        ({LIST: "train_00099.jpg 1\n"}, "line 1: no picture train_00099 in it"),
        ({"other/train_00001_aligned.jpg": b""}, r"train_00001 stands there twice \(.*, .*\)"),
        ({"again/list_patition_label.txt": ""}, "2 files named list_patition_label.txt; expected one"),
    ],
)
def test_wrong_rafdb(tmp_path, changes, message) -> None:
    with pytest.raises(UserError, match=message):
        READERS["rafdb"](write_files(tmp_path / "set", rafdb() | changes), WANTED)


def test_jaffe_by_name(tmp_path) -> None:
    codes = dict(zip(("AN", "DI", "FE", "HA", "SA", "SU", "NE"), BASIC, strict=True))
    files = {
        f"jaffedbase/{subject}.{code}{k}.{9 * k}.tiff": picture(k, (256, 256), 1, "TIFF")
        for subject in ("KA", "KL") for code in codes for k in (1, 2)
    }  # fmt: skip
    raw = READERS["jaffe"](write_files(tmp_path / "set", files | {"jaffedbase/README": b"x", "x.png": b""}), WANTED)
    assert (raw.classes, len(raw.images)) == (BASIC, 28)
    for name, label, group in zip(raw.image_ids, raw.labels, raw.groups, strict=True):
        subject, code = name.removeprefix("jaffedbase/").split(".")[:2]
        assert (raw.classes[label], group) == (codes[code[:2]], subject)
    assert "names that say no class: 1 other files skipped (x.png)" in raw.said


def test_kdef_by_name_with_one_subject_in_both_sessions(tmp_path) -> None:
    codes = dict(zip(("AN", "DI", "AF", "HA", "SA", "SU", "NE"), BASIC, strict=True))
    files = {
        f"{session}{subject}/{session}{subject}{code}{angle}.JPG": picture(seed, (56, 76), form="JPEG")
        for session in "AB" for subject in ("F01", "M17") for seed, code in enumerate(codes) for angle in ("S", "HL")
    }  # fmt: skip
    raw = READERS["kdef"](zipped(write_files(tmp_path / "set", files)), WANTED)
    assert len(raw.images) == 56
    for name, label, group in zip(raw.image_ids, raw.labels, raw.groups, strict=True):
        stem = name.split("/")[1]
        assert (raw.classes[label], group) == (codes[stem[4:6]], stem[1:4])
    assert "56 of 56 pictures are not square: the square in their middle is taken" in raw.said


def test_other_names_are_refused(tmp_path) -> None:
    folder = write_files(tmp_path / "set", {"happy.png": picture(0)})
    for source, example in (("jaffe", "KA.AN1.39.tiff"), ("kdef", "AF01ANS.JPG")):
        with pytest.raises(UserError, match=f"no picture is named like {example}"):
            READERS[source](folder, WANTED)
