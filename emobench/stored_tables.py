"""The tables of a benchmark: columns, types, ranges, keys, and what each was made from; and joining them by key."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emobench.files import MARK, keys_digest
from emobench.quantities import SHARE, WrongError, bounds_of, check_range
from emobench.stored import reading, unusable


@dataclass(frozen=True)
class Table:
    """What a table is.

    Attributes:
        stage: the stage that writes it.
        key: columns that no two rows share; none may be empty.
        text: other columns that hold text; they may be empty.
        number: other columns that must be there and hold numbers.
        flag: other columns that must be there and hold true or false.
        among: column -> the only values it may have.
        lists: other columns that hold lists.
        scores: every other column is a share.
        empty: it may have no row.
        loose: only the key must be there.
        joined: its rows are joined by their keys, in whatever order they stand.
    """

    stage: str
    key: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    flag: tuple[str, ...] = ()
    among: Mapping[str, tuple[Any, ...]] = ()  # type: ignore[assignment]
    lists: tuple[str, ...] = ()
    scores: bool = False
    empty: bool = False
    loose: bool = False
    joined: bool = False


SETS = ("val", "test", "test_noleaks", "val_test")
_DISSECTED = ("layer", "concept_set", "similarity_fn")
TABLES: dict[str, Table] = {
    "index": Table(
        "prepare", ("image_id",), ("reason", "duplicate_of", "near_duplicate_of"), ("label",), ("leaks", "conflict"),
        {"split": ("train", "val", "test"), "status": ("kept", "removed")}, loose=True,
    ),
    "truth": Table("prepare", ("image_id",), scores=True),
    "annotations": Table("annotate", ("image_id",), scores=True, joined=True),
    "units": Table("dissect", (*_DISSECTED, "unit"), ("description",), ("similarity",), lists=("top_images",)),
    "layers": Table("dissect", _DISSECTED, (), ("num_units", "num_interp")),
    "evidence": Table("dissect", ("network", *_DISSECTED, "source", "metric"), (), ("described", "random")),
    "nulls": Table("dissect", ("network", *_DISSECTED), lists=("concepts", "quantiles", "null_shares", "unit_shares")),
    "configs": Table(
        "edit", ("config_id", "images"), ("arm", "criterion", "control_of", "layer"),
        ("tau", "factor", "accuracy", "nll"), (), {"images": SETS, "status": ("ok", "degenerate")}, joined=True,
    ),
    "unit_effects": Table("edit", ("layer", "unit"), (), ("delta_accuracy", "delta_nll")),
    "search": Table("edit", ("layers", "kind", "penalty", "exponent"), empty=True),
    "verdicts": Table(
        "compare", ("config_id", "images", "selected_on"), ("arm", "why"), ("mcnemar_p", "holm_p", "accuracy"), (),
        {"images": (*SETS[1:], "val_test_kept"), "selected_on": ("val", "paper", "cross_fitted"),
         "verdict": ("improves", "harms", "no evidence", "not judged (no controls)")},
        empty=True,
    ),
    "history": Table("network", ("epoch",), (), ("train_loss", "val_loss", "val_accuracy", "lr"), empty=True),
    "concept_classes": Table("embed", ("concept_set", "concept"), ("nearest", "mapped"), ("agrees",), empty=True),
    "clip_concepts": Table("clip", (), ("concept",), ("auroc",), empty=True),
}  # fmt: skip
"""By the name of the file."""


def read_table(path: Path, *, made_from: Mapping[str, str] | None = None, called: str = "") -> Any:
    """Reads a table of :data:`TABLES`, parquet or csv, and checks it.

    Args:
        path: the file; its stem says which table it is.
        made_from: digests of what it must have been made from (see emobench.files.write_parquet). A table that says
            nothing of one of them is believed.
        called: which table it is, where the file's stem doesn't say.

    Returns:
        A pandas table.

    Raises:
        UserError: it is missing, can't be read, or is not such a table.
    """
    import pandas as pd

    table = TABLES[called or path.stem]
    stage = table.stage
    with reading(path, stage):
        frame = csv_frame(path) if path.suffix == ".csv" else pd.read_parquet(path, page_checksum_verification=True)
        noted, frame.attrs = frame.attrs.get(MARK, {}), {}
        check_table(frame, table)
        _check_noted(frame, noted, made_from or {})
        if not table.joined and noted.get("keys", keys := keys_digest(frame)) != keys:
            raise WrongError("its rows are others than were written, or stand in another order")
    return frame


def csv_frame(path: Path, **options: Any) -> Any:
    """The table of a csv file that was written here; ``options`` are those of pandas' read_csv.

    pandas reads null bytes as text, and what a disk lost is often full of them; and a number that was cut as a number.
    """
    import pandas as pd

    content = path.read_bytes()
    if b"\0" in content:
        raise WrongError("it has null bytes")
    if content and not content.endswith(b"\n"):
        raise WrongError("it ends within a row")
    return pd.read_csv(io.BytesIO(content), **options)


def check_table(frame: Any, table: Table) -> None:
    """Whether a pandas table is what it should be. Raises WrongError if not."""
    among = dict(table.among)
    needed = table.key if table.loose else (*table.key, *table.text, *table.number, *table.flag, *among)
    lacking = [name for name in needed if name not in frame.columns]
    if lacking:
        raise WrongError(f"it lacks the columns {', '.join(dict.fromkeys(lacking))}")
    if frame.columns.has_duplicates:
        raise WrongError(f"it has the column {frame.columns[frame.columns.duplicated()][0]} twice")
    if not len(frame) and not table.empty:
        raise WrongError("it has no rows")
    for name in frame.columns:
        _check_column(frame[name], table, among.get(name))
    if table.key and (twice := frame.duplicated(list(table.key))).any():
        row = frame.loc[twice.to_numpy(), list(table.key)].iloc[0].tolist()
        raise WrongError(f"two rows have the {', '.join(table.key)} {', '.join(map(str, row))}")


def _check_column(column: Any, table: Table, among: tuple[Any, ...] | None) -> None:
    """One column: its type, and the range of its numbers."""
    import numpy as np
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    name = column.name
    if name in table.key and column.isna().any():
        raise WrongError(f"{name} is empty in a row")
    if name in table.flag and not is_bool_dtype(column):
        raise WrongError(f"{name} is {column.dtype}; expected true or false")
    if among is not None and not column.isin(among).all():
        strange = column[~column.isin(among)].iloc[0]
        raise WrongError(f"{name} has {strange!r}; expected {', '.join(among)}")
    numeric = is_numeric_dtype(column) and not is_bool_dtype(column)
    score = table.scores and name not in table.key
    named = (
        bounds_of(name) is not None
        and name not in (*table.key, *table.text)
        and among is None
        and name not in table.lists
    )
    wanted = name in table.number or score or named
    if wanted and not numeric and not is_bool_dtype(column) and column.notna().any():
        raise WrongError(f"{name} is {column.dtype}; expected numbers")
    if (name in table.text or among) and numeric and column.notna().any():
        raise WrongError(f"{name} is {column.dtype}; expected text")
    if numeric and np.issubdtype(column.to_numpy().dtype, np.complexfloating):
        raise WrongError(f"{name} is complex; expected numbers")
    if numeric:
        check_range(name, column.to_numpy(float, na_value=np.nan), SHARE if score else None)


def _check_noted(frame: Any, noted: Mapping[str, Any], made_from: Mapping[str, str]) -> None:
    """Whether a table is whole, and made from what is here, by what its writer noted in it."""
    if "columns" in noted and noted["columns"] != list(frame.columns):
        differing = set(noted["columns"]).symmetric_difference(frame.columns) or {"their order"}
        raise WrongError(f"its columns are not as written: {', '.join(sorted(map(str, differing))[:4])}")
    if noted.get("rows", len(frame)) != len(frame):
        raise WrongError(f"it has {len(frame)} rows; {noted['rows']} were written")
    for what, digest in made_from.items():
        if noted.get("made_from", {}).get(what, digest) != digest:
            raise WrongError(f"it was made from another {what}")


def in_order(frame: Any, column: str, wanted: Sequence[Any], path: Path, stage: str) -> Any:
    """The rows of a table by a key, in the order in which the keys are wanted.

    Raises:
        UserError: a key is missing, or one is there that nobody wants.
    """
    import pandas as pd

    wanted = pd.Index(wanted)
    found = pd.Index(frame[column])
    if found.equals(wanted):
        return frame
    places = found.get_indexer(wanted) if found.is_unique else None
    if places is None or (places < 0).any() or len(found) != len(wanted):
        lacking = wanted.difference(found)
        example = f", such as {lacking[0]}" if len(lacking) else ""
        raise unusable(path, f"its rows are not of these {column}s: {len(lacking)} lack{example}", stage)
    return frame.iloc[places].reset_index(drop=True)
