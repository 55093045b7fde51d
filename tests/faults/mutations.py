"""What can have happened to a stored file: a mutation takes its path and a seeded generator, and changes the file.

Every one leaves something that the file's writer can't have written, or the same content in another order.
"""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from emobench.quantities import INFINITE

Mutation = Callable[[Path, np.random.Generator], None]


def _bytes(change: Callable[[bytes, np.random.Generator], bytes]) -> Mutation:
    def mutate(path: Path, rng: np.random.Generator) -> None:
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(change(content, rng))

    return mutate


def _folder(path: Path, rng: np.random.Generator) -> None:
    path.unlink()
    path.mkdir()


def _gone(path: Path, rng: np.random.Generator) -> None:
    path.unlink()


ANY: dict[str, Mutation] = {
    "empty": _bytes(lambda content, rng: b""),
    "torn": _bytes(lambda content, rng: content[: int(rng.integers(1, max(len(content) - 1, 2)))]),
    "head only": _bytes(lambda content, rng: content[: min(100, len(content) // 2)]),
    "zeros": _bytes(lambda content, rng: bytes(len(content))),
    "noise": _bytes(lambda content, rng: rng.bytes(max(len(content) // 2, 50))),
    "web page": _bytes(lambda content, rng: b"<!DOCTYPE html><html><body>404</body></html>"),
    "folder": _folder,
    "gone": _gone,
}


def _frame(change: Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]) -> Mutation:
    def mutate(path: Path, rng: np.random.Generator) -> None:
        read, write = (pd.read_csv, "to_csv") if path.suffix == ".csv" else (pd.read_parquet, "to_parquet")
        table = read(path)
        path.unlink()
        getattr(change(table, rng), write)(path, index=False)

    return mutate


def _of(table: pd.DataFrame, rng: np.random.Generator, kind: str) -> str:
    names = list(table.select_dtypes(kind).columns) or list(table.columns)
    # Scores that are undefined for a concept are infinite: there that is nothing wrong.
    names = [name for name in names if not INFINITE.fullmatch(name)] or names
    return names[int(rng.integers(len(names)))]


def _with(table: pd.DataFrame, rng: np.random.Generator, kind: str, value: Any) -> pd.DataFrame:
    """One cell of some column of a kind is something else; all of a boolean's or text's column would be too."""
    name = _of(table, rng, kind)
    # A table may have no column of that kind.
    number = isinstance(value, float) and pd.api.types.is_numeric_dtype(table[name])
    column = table[name].astype(float if number else object)
    column.iloc[int(rng.integers(len(column)))] = value
    return table.assign(**{name: column if number else column.astype(str)})


TABLE: dict[str, Mutation] = {
    "rows reversed": _frame(lambda table, rng: table.iloc[::-1]),
    "half of the rows": _frame(lambda table, rng: table.iloc[: len(table) // 2]),
    "rows twice": _frame(lambda table, rng: pd.concat([table, table])),
    "no rows": _frame(lambda table, rng: table.iloc[:0]),
    "a column less": _frame(lambda table, rng: table.drop(columns=table.columns[int(rng.integers(table.shape[1]))])),
    "first column less": _frame(lambda table, rng: table.drop(columns=table.columns[0])),
    "columns renamed": _frame(lambda table, rng: table.rename(columns=lambda name: f"x {name}")),
    "all as text": _frame(lambda table, rng: table.astype(str)),
    "50": _frame(lambda table, rng: _with(table, rng, "number", 50.0)),
    "-7.5": _frame(lambda table, rng: _with(table, rng, "number", -7.5)),
    "infinity": _frame(lambda table, rng: _with(table, rng, "number", np.inf)),
    "a word": _frame(lambda table, rng: _with(table, rng, "number", "many")),
    "another name": _frame(lambda table, rng: _with(table, rng, "object", "nobody's")),
}


def _array(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Mutation:
    def mutate(path: Path, rng: np.random.Generator) -> None:
        values = np.load(path)
        path.unlink()
        np.save(path, change(values, rng))

    return mutate


def _set(values: np.ndarray, rng: np.random.Generator, value: float) -> np.ndarray:
    values = values.copy() if values.dtype.kind == "f" else values.astype(np.float32)
    values.flat[int(rng.integers(values.size))] = value
    return values


def _flip(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values = np.ascontiguousarray(values).copy()
    values.reshape(-1).view(np.uint8)[int(rng.integers(values.nbytes))] ^= 0x41
    return values


ARRAY: dict[str, Mutation] = {
    "rows reversed": _array(lambda values, rng: values[::-1]),
    "half of the rows": _array(lambda values, rng: values[: len(values) // 2]),
    "a column less": _array(lambda values, rng: values[..., :-1]),
    "an axis more": _array(lambda values, rng: values[..., None]),
    "complex": _array(lambda values, rng: values.astype(np.complex64)),
    "bool": _array(lambda values, rng: values.astype(bool)),
    "int64": _array(lambda values, rng: values.astype(np.int64)),
    "float64": _array(lambda values, rng: values.astype(np.float64)),
    "texts": _array(lambda values, rng: values.astype(str)[:5]),
    "not a number": _array(lambda values, rng: _set(values, rng, np.nan)),
    "infinity": _array(lambda values, rng: _set(values, rng, np.inf)),
    "1e30 times": _array(lambda values, rng: values.astype(np.float32) * np.float32(1e30)),
    "a bit flipped": _array(_flip),
}


def _state(change: Callable[[dict, np.random.Generator], dict]) -> Mutation:
    def mutate(path: Path, rng: np.random.Generator) -> None:
        state = load_file(path)
        path.unlink()
        save_file({name: np.ascontiguousarray(value) for name, value in change(state, rng).items()}, path)

    return mutate


def _one(state: dict, rng: np.random.Generator, change: Callable[[np.ndarray], np.ndarray]) -> dict:
    large = [name for name, value in state.items() if value.size > 1] or list(state)
    name = large[int(rng.integers(len(large)))]
    return state | {name: change(state[name])}


STATE: dict[str, Mutation] = {
    "1e30 times": _state(lambda state, rng: {name: value * np.float32(1e30) for name, value in state.items()}),
    "integers": _state(lambda state, rng: {name: value.astype(np.int64) for name, value in state.items()}),
    "bool": _state(lambda state, rng: {name: value.astype(bool) for name, value in state.items()}),
    "one less": _state(lambda state, rng: dict(list(state.items())[1:])),
    "one reversed": _state(lambda state, rng: _one(state, rng, lambda value: value[::-1])),
    "one with infinity": _state(lambda state, rng: _one(state, rng, lambda value: value * np.float32(np.inf))),
    "none": _state(lambda state, rng: {}),
}


def _npz(change: Callable[[dict, np.random.Generator], dict]) -> Mutation:
    def mutate(path: Path, rng: np.random.Generator) -> None:
        with np.load(path) as file:
            arrays = dict(file)
        path.unlink()
        np.savez(path, **change(arrays, rng))

    return mutate


def _any_of(arrays: dict, rng: np.random.Generator, change: Callable[[np.ndarray], np.ndarray], kind: str) -> dict:
    names = [name for name, value in arrays.items() if value.dtype.kind in kind and value.ndim]
    name = names[int(rng.integers(len(names)))]
    return arrays | {name: change(arrays[name])}


def _without(arrays: dict, name: str) -> dict:
    return {other: value for other, value in arrays.items() if other != name}


ARRAYS: dict[str, Mutation] = {
    "one less": _npz(lambda arrays, rng: _without(arrays, sorted(arrays)[int(rng.integers(len(arrays)))])),
    "vectors reversed": _npz(lambda arrays, rng: _any_of(arrays, rng, lambda value: value[::-1], "f")),
    "names reversed": _npz(lambda arrays, rng: _any_of(arrays, rng, lambda value: value[::-1], "U")),
    "half of one": _npz(lambda arrays, rng: _any_of(arrays, rng, lambda value: value[: len(value) // 2], "fU")),
    "infinite": _npz(lambda arrays, rng: _any_of(arrays, rng, lambda value: value * np.inf, "f")),
    "complex": _npz(lambda arrays, rng: _any_of(arrays, rng, lambda value: value.astype(complex), "f")),
    "none": _npz(lambda arrays, rng: {}),
}  # fmt: skip


def _json(change: Callable[[Any, np.random.Generator], Any]) -> Mutation:
    def mutate(path: Path, rng: np.random.Generator) -> None:
        values = json.loads(path.read_text())
        path.unlink()
        path.write_text(json.dumps(change(values, rng)))

    return mutate


def leaves(values: Any, where: tuple = ()) -> list[tuple]:
    """The places of all values in nested JSON, objects and lists too; of a list the first only."""
    if isinstance(values, dict):
        inner = [place for key, one in values.items() for place in leaves(one, (*where, key))]
    else:
        inner = leaves(values[0], (*where, 0)) if isinstance(values, list) and values else []
    return [*([where] if where else []), *inner]


def put(values: Any, where: tuple, value: Any) -> Any:
    """The same with another value at a place; the value ``...`` takes the key away."""
    if not where:
        return value
    changed = dict(values) if isinstance(values, dict) else list(values)
    if value is ... and len(where) == 1:
        del changed[where[0]]
    else:
        changed[where[0]] = put(values[where[0]], where[1:], value)
    return changed


def _leaf(value: Any) -> Mutation:
    def change(values: Any, rng: np.random.Generator) -> Any:
        places = leaves(values)
        return put(values, places[int(rng.integers(len(places)))], value)

    return _json(change)


JSON: dict[str, Mutation] = {
    "a list": _json(lambda values, rng: [values]),
    "a number": _json(lambda values, rng: 5),
    "null": _json(lambda values, rng: None),
    "an empty object": _json(lambda values, rng: {}),
    "a key less": _leaf(...),
    "a value null": _leaf(None),
    "a value a word": _leaf("hostile"),
    "a value an object": _leaf({"hostile": [1]}),
    "a value a list": _leaf([[]]),
    "a value huge": _leaf(1e308),
    "a value negative": _leaf(-3),
    "not UTF-8": _bytes(lambda content, rng: b"\xff\xfe" + content),
    "cut and closed": _bytes(lambda content, rng: b"{}"),
    "deeply nested": _bytes(lambda content, rng: b"[" * 100_000 + b"]" * 100_000),
}
TEXT: dict[str, Mutation] = {
    "not UTF-8": _bytes(lambda content, rng: b"\xff\xfe\xfa" + content),
    "null bytes": _bytes(lambda content, rng: content.replace(b"\n", b"\x00\n")),
}


def _zip(change: Callable[[dict, np.random.Generator], dict]) -> Mutation:
    def mutate(path: Path, rng: np.random.Generator) -> None:
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        path.unlink()
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in change(files, rng).items():
                archive.writestr(name, content)

    return mutate


def _picture(files: dict, rng: np.random.Generator, content: bytes) -> dict:
    name = list(files)[int(rng.integers(len(files)))]
    return files | {name: content or files[name][:60]}


ZIP: dict[str, Mutation] = {
    "a picture torn": _zip(lambda files, rng: _picture(files, rng, b"")),
    "a picture of words": _zip(lambda files, rng: _picture(files, rng, b"many words")),
    "no picture": _zip(lambda files, rng: {"README.md": b"nothing"}),
    "one class": _zip(lambda files, rng: {name: data for name, data in files.items() if "/happy/" in name}),
}


def _cut(content: bytes, end: int) -> bytes:
    """The first bytes up to a separator: the last row lacks a cell. Where it lacks a line only, who can know?"""
    at = content.rfind(b",", 0, max(end, content.find(b",") + 1))
    return content[:at]


GIVEN_TABLE: dict[str, Mutation] = {
    "torn": _bytes(lambda content, rng: _cut(content, int(rng.integers(1, len(content))))),
    "head only": _bytes(lambda content, rng: _cut(content, min(100, len(content) // 2))),
}
SHOWN = {"rows reversed", "half of the rows", "a value null", "a key less", "another name"}
"""What nobody can know of the small text files in reports/ that git keeps and people may read: other true numbers."""
GIVEN = {"rows reversed", "half of the rows", "a column less", "one reversed"}
"""What a user's own file may as well be: fewer rows, other weights."""
KINDS = {
    ".parquet": TABLE, ".npy": ARRAY, ".npz": ARRAYS, ".json": JSON, ".safetensors": STATE, ".zip": ZIP,
    ".csv": TABLE | TEXT,
}  # fmt: skip


def mutations_of(path: Path) -> dict[str, Mutation]:
    """All that can be done to a file of its kind."""
    found, given = ANY | KINDS.get(path.suffix, {}), {"raw", "concepts"} & set(path.parts)
    if given and path.suffix == ".csv":
        # A list of concepts may as well end there, or lack the classes of its last.
        listed = "concepts" in path.parts
        found = {name: one for name, one in found.items() if not listed or name not in GIVEN_TABLE} | (
            {} if listed else GIVEN_TABLE
        )
    spared = SHOWN if "reports" in path.parts else GIVEN if given else ()
    return {name: one for name, one in found.items() if name not in spared}


def linked(source: Path, target: Path) -> None:
    """A copy of a folder whose files are links: whoever changes one replaces it."""
    shutil.copytree(source, target, copy_function=os.link)
