import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emobench.files import file_digest, replacing, write_array, write_csv, write_json, write_parquet


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(OSError, match="full"), replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        raise OSError(28, "disk full")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}


def test_folders_are_replaced_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with replacing(tmp_path / "folder") as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "folder") as temporary:
        temporary.mkdir()
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_each_writer_round_trips(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1, 2], "b": [0.5, math.nan]})
    write_parquet(tmp_path / "deep" / "t.parquet", table)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "deep" / "t.parquet"), table)
    write_csv(tmp_path / "t.csv", table)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv"), table)
    write_array(tmp_path / "a.npy", np.arange(3))
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
    write_json(tmp_path / "a.json", {"x": [math.nan, 1.5], "y": {"z": math.nan}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [None, 1.5], "y": {"z": None}}
    assert file_digest(tmp_path / "a.npy") == file_digest(tmp_path / "a.npy") != file_digest(tmp_path / "a.json")
