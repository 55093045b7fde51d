import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emobench.errors import UserError
from emobench.files import write_arrays, write_parquet, write_sealed
from emobench.quantities import WrongError, check_range
from emobench.stored import array_digest, parse_json, read_array, read_arrays, read_json
from emobench.stored_tables import in_order, read_table


@dataclasses.dataclass(frozen=True)
class Inner:
    name: str
    sizes: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Card:
    inner: Inner
    accuracy: float
    counts: dict[str, int]
    note: str = ""


GOOD = {"inner": {"name": "a", "sizes": [1, 2]}, "accuracy": 1, "counts": {"val": 3}}


def test_json_of_a_form_is_read_as_that_form(tmp_path):
    (tmp_path / "card.json").write_text(json.dumps(GOOD))
    card = read_json(tmp_path / "card.json", "prepare", Card)
    assert card == Card(Inner("a", (1, 2)), 1.0, {"val": 3})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is empty"),
        ("{", "is not valid JSON"),
        ("[" * 100_000, "can't be read|is not valid JSON"),
        ("[1]", "not as it should be"),
        (json.dumps(GOOD | {"accuracy": "much"}), "accuracy: input should be a valid number"),
        (json.dumps(GOOD | {"accuracy": 7.5}), r"accuracy is 7.5; expected 0 to 1"),
        (json.dumps(GOOD | {"counts": {"val": True}}), r"counts.val: input should be a valid integer"),
        (json.dumps(GOOD | {"inner": {"name": "a"}}), r"inner.sizes: field required"),
    ],
)
def test_json_of_another_form_names_file_place_and_stage(tmp_path, content, message):
    path = tmp_path / "card.json"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"card\.json .*(?:{message}).*run the stage 'prepare' again"):
        read_json(path, "prepare", Card)


@pytest.mark.parametrize(
    "change",
    [lambda card: card | {"accuracy": 0.5}, lambda card: card | {"note": "x"}, lambda card: card | {"seal": "x"}],
)
def test_a_sealed_json_is_as_it_was_written(tmp_path, change):
    path = tmp_path / "card.json"
    write_sealed(path, {"note": "kept", **GOOD, "missing": float("nan")})
    assert read_json(path, "prepare", Card).accuracy == 1
    assert read_json(path, "prepare").keys() == {*GOOD, "note", "missing"}
    written = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(written.items()))))
    assert read_json(path, "prepare", Card).note == "kept"
    path.write_text(json.dumps(change(written)))
    with pytest.raises(UserError, match=r"card\.json .*its values are not those that were written"):
        read_json(path, "prepare", Card)
    path.write_text(json.dumps(GOOD))  # as of an earlier version, without a seal
    assert read_json(path, "prepare", Card)


def test_json_that_is_missing_a_folder_or_not_text(tmp_path):
    with pytest.raises(UserError, match=r"no .*card\.json; run the stage 'prepare' first"):
        read_json(tmp_path / "card.json", "prepare")
    (tmp_path / "card.json").mkdir()
    with pytest.raises(UserError, match=r"card\.json .*it is no file"):
        read_json(tmp_path / "card.json", "prepare")
    (tmp_path / "other.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(UserError, match=r"other\.json can't be read \(UnicodeDecodeError"):
        read_json(tmp_path / "other.json", "prepare")
    assert parse_json(b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [("test_accuracy", 1.5), ("recall_sad", -0.1), ("nll", -1.0), ("holm_p", 2.0), ("delta_accuracy", 1.5),
     ("gains", -1), ("tau", np.inf), ("clip_pearson", -1.2)],
)  # fmt: skip
def test_ranges_go_by_names(name, value):
    check_range(name, [0.0, np.nan])
    with pytest.raises(WrongError, match=name):
        check_range(name, [0.0, value])


def test_a_score_may_be_undefined():
    check_range("similarity", [-np.inf, 0.5])


def effects(**changes) -> pd.DataFrame:
    table = {"layer": ["a", "a", "b"], "unit": [0, 1, 0], "delta_accuracy": [0.1, 0.0, -0.1], "delta_nll": [0.0, 1, 2]}
    return pd.DataFrame(table | changes)


def test_a_table_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "unit_effects.parquet"
    write_parquet(path, effects(), {"network": "abc"})
    read = read_table(path, made_from={"network": "abc"})
    pd.testing.assert_frame_equal(read, effects())
    assert read.attrs == {}
    effects().to_parquet(path)  # of somebody who notes nothing
    pd.testing.assert_frame_equal(read_table(path, made_from={"network": "abc"}), effects())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.iloc[:2], "it has 2 rows; 3 were written"),
        (lambda table: table.drop(columns="delta_nll"), "lacks the columns delta_nll"),
        (lambda table: table.rename(columns={"layer": "x"}), "lacks the columns layer"),
        (lambda table: pd.concat([table, table]), "two rows have the layer, unit a, 0"),
        (lambda table: table.iloc[:0], "it has no rows"),
        (lambda table: table.assign(delta_accuracy=["a", "b", "c"]), "delta_accuracy is .*; expected numbers"),
        (lambda table: table.assign(delta_accuracy=[50.0, 0, 0]), "delta_accuracy is 50; expected -1 to 1"),
        (lambda table: table.assign(delta_nll=[np.inf, 0, 0]), "delta_nll has an infinite value"),
        (lambda table: table.assign(layer=[None, "a", "b"]), "layer is empty in a row"),
        (lambda table: table.iloc[::-1], "are others than were written, or stand in another order"),
        (lambda table: table.assign(more=1), "its columns are not as written: more"),
    ],
)
def test_a_table_that_is_not_what_it_should_be(tmp_path, change, message):
    path = tmp_path / "unit_effects.parquet"
    write_parquet(path, effects())
    change(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(UserError, match=rf"unit_effects\.parquet .*{message}.*dvc repro edit"):
        read_table(path)


def test_a_csv_file_with_null_bytes_is_torn(tmp_path):
    path = tmp_path / "clip_concepts.csv"
    path.write_text("concept,auroc\nsmile,0.5\x00\n")
    with pytest.raises(UserError, match=r"clip_concepts\.csv .*it has null bytes"):
        read_table(path)


def test_a_table_of_another_network_and_a_torn_one(tmp_path):
    path = tmp_path / "unit_effects.parquet"
    write_parquet(path, effects(), {"network": "abc"})
    with pytest.raises(UserError, match="made from another network"):
        read_table(path, made_from={"network": "other"})
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-30])
    with pytest.raises(UserError, match=r"unit_effects\.parquet can't be read"):
        read_table(path)
    at = content.index(b"layer") if b"layer" in content else 40
    content[at - 20] ^= 0xFF  # a byte within the first pages
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"unit_effects\.parquet"):
        read_table(path)


def test_rows_are_joined_by_their_keys():
    table = pd.DataFrame({"image_id": ["c", "a", "b"], "smile": [3, 1, 2]})
    assert in_order(table, "image_id", ["a", "b", "c"], Path("t"), "annotate")["smile"].tolist() == [1, 2, 3]
    for wanted in (["a", "b"], ["a", "b", "d"], ["a", "b", "c", "d"]):
        with pytest.raises(UserError, match="t .*its rows are not of these image_ids"):
            in_order(table, "image_id", wanted, Path("t"), "annotate")


def test_an_array_is_what_it_was_noted_to_be(tmp_path):
    path, values = tmp_path / "a.npy", np.arange(6, dtype=np.float32).reshape(3, 2)
    np.save(path, values)
    digest = array_digest(values, ["x", "y", "z"])
    read = read_array(path, "edit", dtype="float32", shape=(3, None), digest=digest, key=["x", "y", "z"], finite=True)
    np.testing.assert_array_equal(read, values)
    assert not read.flags.writeable
    with pytest.raises(UserError, match=r"a\.npy .*rows stand for something else in ids\.json"):
        read_array(path, "edit", dtype="float32", shape=(3, 2), digest=digest, key=["z", "y", "x"], note="ids.json")
    for dtype, shape in (("uint8", (3, 2)), ("float32", (3, 3)), ("float32", (3, 2, 1))):
        with pytest.raises(UserError, match=r"a\.npy .*it is float32 \(3, 2\); expected"):
            read_array(path, "edit", dtype=dtype, shape=shape)
    np.save(path, values[::-1])
    with pytest.raises(UserError, match="values are not those that were written"):
        read_array(path, "edit", dtype="float32", shape=(3, 2), digest=digest, key=["x", "y", "z"])
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.npy .*it is empty"):
        read_array(path, "edit", dtype="float32", shape=(3, 2))


def test_named_arrays_may_have_any_name_but_not_any_type(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"file": np.ones(2), "allow_pickle": np.array(["a"])})
    assert sorted(read_arrays(path, "embed", ["file"])) == ["allow_pickle", "file"]
    with pytest.raises(UserError, match="it lacks other"):
        read_arrays(path, "embed", ["other"])
    write_arrays(path, {"file": np.ones(2, complex)})
    with pytest.raises(UserError, match="file is complex128; expected numbers or text"):
        read_arrays(path, "embed")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"a\.npz can't be read"):
        read_arrays(path, "embed")
