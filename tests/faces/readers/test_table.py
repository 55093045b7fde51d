"""Tables of pictures: every form, every wrong cell."""

import json

import numpy as np
import pandas as pd
import pytest
from small_sets import picture, write_files, zipped

from emobench.errors import UserError
from emobench.faces.readers.entries import Wanted
from emobench.faces.readers.table import read_table

WANTED = Wanted(60, 3)
ROWS = [
    {"file_name": "faces/a.png", "label": "happiness", "split": "train", "subject": "p1"},
    {"file_name": "faces/b.png", "label": "sad", "split": "val", "subject": "p2"},
    {"file_name": "faces/c.png", "label": "sad", "split": "test", "subject": ""},
]
PICTURES = {f"faces/{name}.png": picture(seed) for seed, name in enumerate("abc")}


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (60, 60, 3), dtype=np.uint8)


def text_of(rows, form: str) -> bytes:
    table = pd.DataFrame(rows)
    if form == "parquet":
        return table.to_parquet(index=False)
    if form == "jsonl":
        return "\n".join(json.dumps(row) for row in rows).encode()
    separator = {"tsv": "\t", "semicolon": ";"}.get(form, ",")
    return table.to_csv(index=False, sep=separator, lineterminator="\r\n").encode("utf-8-sig")


@pytest.mark.parametrize("form", ["csv", "tsv", "semicolon", "parquet", "jsonl"])
@pytest.mark.parametrize("packed", [False, True])
def test_each_form(tmp_path, form, packed) -> None:
    name = "faces.csv" if form == "semicolon" else f"faces.{form}"
    folder = write_files(tmp_path / "set", {name: text_of(ROWS, form), **PICTURES})
    raw = read_table(zipped(folder) if packed else folder, WANTED)
    assert (raw.image_ids, raw.splits) == (["faces/a.png", "faces/b.png", "faces/c.png"], ["train", "val", "test"])
    assert (raw.classes, raw.labels.tolist(), raw.groups) == (("happy", "sad"), [0, 1, 1], ["p1", "p2", ""])
    np.testing.assert_array_equal(raw.images, np.stack([pixels(seed) for seed in range(3)]))
    assert "classes by synonym: happiness is happy" in raw.said


def test_metadata_of_hugging_face_in_each_split(tmp_path) -> None:
    files = {}
    for seed, split in enumerate(("train", "validation", "test")):
        files[f"{split}/metadata.csv"] = f"file_name,label\n{split}.png,happy\nsub/{split}.png,sad\n"
        files |= {f"{split}/{split}.png": picture(seed), f"{split}/sub/{split}.png": picture(9 + seed)}
    raw = read_table(write_files(tmp_path / "set", files), WANTED)
    assert raw.splits == ["train", "train", "val", "val", "test", "test"]
    assert raw.image_ids[2:4] == ["validation/sub/validation.png", "validation/validation.png"]


def test_a_table_for_each_split(tmp_path) -> None:
    files = {f"{split}.csv": f"path,emotion\nfaces/{name}.png,{emotion}\n" for split, name, emotion in
             (("train", "a", "sad"), ("val", "b", "happy"), ("test", "c", "sad"))}  # fmt: skip
    assert read_table(write_files(tmp_path / "set", files | PICTURES), WANTED).splits == ["train", "val", "test"]


def test_numbers_need_an_order_and_may_be_written_as_floats(tmp_path) -> None:
    text = "image,label\nfaces/a.png,1.0\nfaces/b.png,0.0\nfaces/c.png,1.0\n"
    folder = write_files(tmp_path / "set", {"t.csv": text, **PICTURES})
    with pytest.raises(UserError, match=r"the classes are numbers \(0 to 1\); state their names"):
        read_table(folder, WANTED)
    raw = read_table(folder, Wanted(60, 3, ("sad", "happy")))
    assert (raw.classes, raw.labels.tolist(), raw.splits) == (("sad", "happy"), [1, 0, 1], ["", "", ""])
    write_files(folder, {"t.csv": text.replace("1.0", "1.5")})
    with pytest.raises(UserError, match="unknown class in .*: '.*'; known: sad, happy"):
        read_table(folder, Wanted(60, 3, ("sad", "happy")))


@pytest.mark.parametrize(
    ("names", "cells"),
    [("x1,y1,x2,y2", "10,20,40,50"), ("x,y,width,height", "10,20,30,30"), ("Left,top,right,bottom", "10,20,40,50")],
)
def test_boxes_are_cut_out(tmp_path, names, cells) -> None:
    text = f"file_name,label,{names}\nfaces/a.png,sad,{cells}\nfaces/b.png,happy,,,,\n"
    raw = read_table(write_files(tmp_path / "set", {"t.csv": text, **PICTURES}), Wanted(30, 3))
    np.testing.assert_array_equal(raw.images[0], pixels(0)[20:50, 10:40])
    assert "not listed: 1 other files skipped (faces/c.png)" in raw.said


HEAD = "file_name,label\nfaces/a.png,sad\nfaces/b.png,happy\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na,sad\n", r"lacks the column file_name \(other names: filename, .*\); found name, label"),
        ("file_name\na\n", "lacks the column label .*found file_name"),
        ("file_name|label\na|b\n", r"lacks the column file_name and label .*found file_name\|label"),
        ("file_name,label\n", "no rows; expected one a picture"),
        (HEAD + "faces/d.png,sad\n", "row 3: no picture faces/d.png; expected its path relative"),
        (HEAD + "../secret.png,sad\n", "row 3: ../secret.png leaves the folder; expected a path within it"),
        (HEAD + "/etc/passwd,sad\n", "row 3: /etc/passwd leaves the folder"),
        (HEAD + "C:\\x.png,sad\n", "leaves the folder"),
        (HEAD + "..\\x.png,sad\n", "leaves the folder"),
        (HEAD + "faces/a.png,happy\n", "faces/a.png stands there twice; expected each file once"),
        (HEAD + "faces/c.png,\n", "row 3: no label for faces/c.png; expected the name of a class"),
        ("file_name,label,split\nfaces/a.png,sad,holdout\n", "row 1: 'holdout'; known: train, training, val"),
        ("file_name,label,x1,y1,x2,y2\nfaces/a.png,sad,1,2,3,\n", "row 1: the box is 1, 2, 3, ; expected four numbers"),
        ("file_name,label,x1,y1,x2,y2\nfaces/a.png,sad,1,2,3,99\nfaces/b.png,happy,,,,\n", "leaves its 60x60 pixels"),
        (b"\xff\xfe\x00", "can't be read as csv"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, text, message) -> None:
    folder = write_files(tmp_path / "set", {"t.csv": text, **PICTURES})
    with pytest.raises(UserError, match=message) as caught:
        read_table(folder, WANTED)
    assert len(str(caught.value).splitlines()) == 1


def test_tables_without_pictures_and_pictures_without_tables(tmp_path) -> None:
    alone = write_files(tmp_path / "alone", {"t.csv": HEAD})
    for path, message in ((alone, "no picture in it"), (alone / "t.csv", "no picture in it; expected a folder or zip")):
        with pytest.raises(UserError, match=message):
            read_table(path, WANTED)
    with pytest.raises(UserError, match="no table in it"):
        read_table(write_files(tmp_path / "pictures", PICTURES), WANTED)
    for name, content in {"t.jsonl": b"{", "t.parquet": b"PAR1", "u.jsonl": b"[1]"}.items():
        folder = write_files(tmp_path / name, {name: content, **PICTURES})
        with pytest.raises(UserError, match=f"{name}: can't be read as"):
            read_table(folder, WANTED)
