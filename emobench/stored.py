"""What a stored file is, and the one way to read it: form, types, ranges, keys, and what it was made from.

Whatever is wrong with a file of a benchmark is one line that names the file, what is wrong, and the stage that writes
it. Rows of tables are joined by their keys, never by where they stand (:func:`in_order`). An array has no keys: the
JSON file beside it holds its digest (:func:`array_digest`).
"""

import dataclasses
import hashlib
import json
import re
import typing
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from emobench.errors import UserError
from emobench.files import MARK

Form = TypeVar("Form")
READ_ERRORS = (
    ValueError, LookupError, TypeError, AttributeError, EOFError, OSError, RecursionError, zipfile.BadZipFile,
    OverflowError, NotImplementedError, ArithmeticError,
)  # fmt: skip
"""What readers raise for a file that is torn, or not what its name says."""
MOST_JSON = 2**28
"""Bytes of a JSON file: what is larger was not written here."""


class WrongError(ValueError):
    """A file could be read, but is not what it should be."""


def unusable(path: Path, why: object, stage: str, called: str = "") -> UserError:
    """The error for a file that is there but can't be used.

    Args:
        path: the file.
        why: what is wrong, in words, or what its reader raised.
        stage: that writes it.
        called: what it is not, as ``is no card``; without, it is said that it can't be read or used.
    """
    text = " ".join(str(why).split())[:300]
    again = f"; remove it and run the stage {stage!r} again (dvc repro {stage})"
    if isinstance(why, Exception) and not isinstance(why, WrongError):
        text = f"{type(why).__name__}: {text}"
        called = called or ("is not valid JSON" if isinstance(why, json.JSONDecodeError) else "can't be read")
    return UserError(f"{path} {called or 'is not as it should be'} ({text}){again}")


def existing(path: Path, stage: str) -> Path:
    """The path, if a file is there. Raises UserError if not."""
    if path.is_file():
        return path
    if path.exists():
        raise unusable(path, "it is no file", stage)
    raise UserError(f"no {path}; run the stage {stage!r} first (dvc repro {stage})")


@contextmanager
def reading(path: Path, stage: str, called: str = "") -> Iterator[None]:
    """Tells what goes wrong in the block as a fault of the file, which is not what it is ``called``."""
    existing(path, stage)
    try:
        yield
    except UserError:
        raise
    except READ_ERRORS as error:
        raise unusable(path, error if path.stat().st_size else "it is empty", stage, called) from None


def read_json(path: Path, stage: str, form: type[Form] = dict, called: str = "") -> Form:
    """Reads a JSON file of a form: a dataclass, or ``dict`` for any object.

    Numbers in it are finite and within the ranges that their names say (:data:`RANGES`).
    """
    with reading(path, stage, called):
        if path.stat().st_size > MOST_JSON:
            raise WrongError(f"it has {path.stat().st_size} bytes")
        return parse_json(path.read_bytes(), form)


def parse_json(content: bytes, form: type[Form] = dict) -> Form:
    """The same of bytes. Raises WrongError where they are not of the form."""
    from pydantic import ValidationError

    values = json.loads(content.decode("utf-8"))
    try:
        read = _adapter(form).validate_json(content)
    except ValidationError as error:
        raise WrongError(_first(error)) from None
    for name, number in _numbers(values):
        check_range(name, [number])
    return read


def checked(value: Form, form: type[Form]) -> Form:
    """A dataclass, if its values have the types that it declares. Raises WrongError if not."""
    from pydantic import ValidationError

    try:
        _adapter(form).validate_python(value)
    except ValidationError as error:
        raise WrongError(_first(error)) from None
    return value


def _first(error: Any) -> str:
    """The first of pydantic's mistakes: where, and what."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place + ': ' if place else ''}{first['msg'][:1].lower()}{first['msg'][1:]}"


@cache
def _adapter(form: type) -> Any:
    from pydantic import TypeAdapter

    if form is dict:
        return TypeAdapter(dict[str, Any])
    _make_strict(form)
    return TypeAdapter(form)


def _make_strict(form: Any) -> None:
    """Tells pydantic to convert nothing in a dataclass, nor in those within it."""
    from pydantic import ConfigDict

    if dataclasses.is_dataclass(form):
        form.__pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False, revalidate_instances="always")
        for hint in typing.get_type_hints(form).values():
            _make_strict(hint)
    for part in typing.get_args(form):
        _make_strict(part)


def _numbers(values: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Name and value of each number in nested values."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _numbers(value, key)
    elif isinstance(values, list) and len(values) < 1000:
        for value in values:
            yield from _numbers(value, name)
    elif isinstance(values, int | float) and not isinstance(values, bool):
        yield name, values


SHARE, SIGNED, POSITIVE = (0.0, 1.0), (-1.0, 1.0), (0.0, float("inf"))
RANGES: tuple[tuple[re.Pattern[str], tuple[float, float]], ...] = tuple(
    (re.compile(pattern), bounds)
    for pattern, bounds in {
        r"(delta|ci_low|ci_high)_(accuracy|balanced_accuracy|macro_f1|recall_.*|ece|ece_t)": SIGNED,
        r"delta_(?!nll|brier).*": SIGNED,
        r"(delta|ci_low|ci_high)_.*": (-float("inf"), float("inf")),
        r"(.*_)?(accuracy|balanced_accuracy|macro_f1|f1|iou|auprc|top1|top2|top3)(_random|_described|_best|_constant)?"
        r"|(.*_)?ece(_t)?|recall_.*|(.*_)?(mcnemar_p|holm_p|control_p|null_p|q_value|chance|label_accuracy)": SHARE,
        r"(.*_)?(prop_\w+|overall_acc|interp_acc|uninterp_acc|auroc|random_p95|agreement|stability(_noise)?)": SHARE,
        r"(.*_)?(pearson|cosine)": SIGNED,
        r"(.*_)?(nll|nll_t|train_loss|val_loss|temperature|factor|brier|brier_t|lift)": POSITIVE,
        r"(.*_)?(gains|losses|control_draws|rows_differing|n_up|n_down|images|units|num_\w+|own_class|evaluated|total)"
        r"|limit|limited|concepts|emotions|epoch|seed|unit|label|positive|removed|leaks": POSITIVE,
        r"control_percentile": (0.0, 100.0),
    }.items()
)
"""Bounds of the quantities whose name fits, the first that does."""
INFINITE = re.compile(r"(.*_)?(similarity|runner_up|margin|effect|lift|null_median|null_p95)")
"""Numbers that may be infinite: a score that is undefined for a concept, and what is divided by it."""
SLACK = 1e-5
"""Sums of rounded numbers, and csv files with six digits."""


@cache
def bounds_of(name: str) -> tuple[float, float] | None:
    """The range of a quantity by its name; None if nothing is known."""
    return next((bounds for pattern, bounds in RANGES if pattern.fullmatch(name)), None)


def check_range(name: str, values: Any, bounds: tuple[float, float] | None = None) -> None:
    """Raises WrongError where a number is infinite or out of its range, else that of its name; NaN is no number."""
    import numpy as np

    numbers = np.asarray(values, dtype=float)
    if not INFINITE.fullmatch(name) and np.isinf(numbers).any():
        raise WrongError(f"{name} has an infinite value")
    low, high = bounds or bounds_of(name) or (-np.inf, np.inf)
    with np.errstate(invalid="ignore"):
        wrong = numbers[(numbers < low - SLACK) | (numbers > high + SLACK)]
    if wrong.size:
        raise WrongError(f"{name} is {wrong[0]:.6g}; expected {low:g} to {high:g}")


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


SETS = ("val", "test", "test_noleaks", "val_test")
_DISSECTED = ("layer", "concept_set", "similarity_fn")
TABLES: dict[str, Table] = {
    "index": Table(
        "prepare", ("image_id",), ("reason", "duplicate_of", "near_duplicate_of"), ("label",), ("leaks", "conflict"),
        {"split": ("train", "val", "test"), "status": ("kept", "removed")}, loose=True,
    ),
    "truth": Table("prepare", ("image_id",), scores=True),
    "annotations": Table("annotate", ("image_id",), scores=True),
    "units": Table("dissect", (*_DISSECTED, "unit"), ("description",), ("similarity",), lists=("top_images",)),
    "layers": Table("dissect", _DISSECTED, (), ("num_units", "num_interp")),
    "evidence": Table("dissect", ("network", *_DISSECTED, "source", "metric"), (), ("described", "random")),
    "nulls": Table("dissect", ("network", *_DISSECTED), lists=("concepts", "quantiles", "null_shares", "unit_shares")),
    "configs": Table(
        "edit", ("config_id", "images"), ("arm", "criterion", "control_of", "layer"),
        ("tau", "factor", "accuracy", "nll"), (), {"images": SETS, "status": ("ok", "degenerate")},
    ),
    "unit_effects": Table("edit", ("layer", "unit"), (), ("delta_accuracy", "delta_nll")),
    "search": Table("edit", ("layers", "kind", "penalty", "exponent"), empty=True),
    "verdicts": Table(
        "compare", ("config_id", "images", "selected_on"), ("arm", "why"), ("mcnemar_p", "holm_p", "accuracy"), (),
        {"images": SETS[1:], "verdict": ("improves", "harms", "no evidence", "not judged (no controls)"),
         "selected_on": ("val", "paper")},
    ),
    "history": Table("network", ("epoch",), (), ("train_loss", "val_loss", "val_accuracy", "lr"), empty=True),
    "clip_concepts": Table("clip", ("concept",), (), ("auroc",), empty=True),
}  # fmt: skip
"""By the name of the file."""


def read_table(path: Path, *, made_from: Mapping[str, str] | None = None) -> Any:
    """Reads a table of :data:`TABLES`, parquet or csv, and checks it.

    Args:
        path: the file; its stem says which table it is.
        made_from: digests of what it must have been made from (see emobench.files.write_parquet). A table that says
            nothing of one of them is believed.

    Returns:
        A pandas table.

    Raises:
        UserError: it is missing, can't be read, or is not such a table.
    """
    import pandas as pd

    table, stage = TABLES[path.stem], TABLES[path.stem].stage
    with reading(path, stage):
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path, page_checksum_verification=True)
        noted, frame.attrs = frame.attrs.get(MARK, {}), {}
        check_table(frame, table)
        _check_noted(frame, noted, made_from or {})
    return frame


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


def read_array(
    path: Path, stage: str, *, dtype: str | None, shape: Sequence[int | None] | None, digest: str | None = None,
    key: object = "", finite: bool = False, mapped: bool = True,
) -> Any:  # fmt: skip
    """Reads an array of a known form.

    Args:
        path: the ``.npy`` file.
        stage: that writes it.
        dtype: its type; ``floating`` for any of floating-point numbers; None for any.
        shape: how long each axis is, None where that is not known; or None.
        digest: what :func:`array_digest` gave for it with ``key``; None where nothing was noted.
        key: what the rows stand for.
        finite: NaN and infinities are refused.
        mapped: it stays on disk.
    """
    import numpy as np

    with reading(path, stage):
        # Mapped first: a torn file tells no length that could fill the memory.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        shape = array.shape if shape is None else shape
        fits = len(shape) == array.ndim and all(
            want in (None, have) for want, have in zip(shape, array.shape, strict=True)
        )
        kind = np.floating if dtype == "floating" else np.dtype(dtype or array.dtype)
        if not np.issubdtype(array.dtype, kind) or not fits:
            wanted = ", ".join("any" if one is None else str(one) for one in shape)
            raise WrongError(f"it is {array.dtype} {array.shape}; expected {dtype} ({wanted})")
        check_digest(path, digest, key)
        if finite and not np.isfinite(array).all():
            raise WrongError("it has NaN or infinite values")
    return array if mapped else np.array(array)


def check_digest(path: Path, digest: str | None, key: object = "") -> None:
    """Raises WrongError if an array on disk is not the one whose digest was noted; None: nothing was."""
    if digest is not None and _digest_of(path, path.stat().st_mtime_ns, json.dumps(key)) != digest:
        raise WrongError("its values are not those that were written, or their rows stand for something else now")


@cache
def _digest_of(path: Path, changed: int, key: str) -> str:
    """The digest of a file's array: what doesn't change in between is read once."""
    import numpy as np

    return array_digest(np.load(path, mmap_mode="r", allow_pickle=False), json.loads(key))


def array_digest(array: Any, key: object = "") -> str:
    """sha256 of an array's form and values and of what its rows stand for (anything that JSON holds)."""
    import numpy as np

    digest = hashlib.sha256(f"{array.dtype} {array.shape} {json.dumps(key)}".encode())
    for start in range(0, len(array), 4096):
        digest.update(np.ascontiguousarray(array[start : start + 4096]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def read_arrays(path: Path, stage: str, needed: Iterable[str] = ()) -> dict[str, Any]:
    """Reads the named arrays of an ``.npz`` file; numbers in them are finite."""
    import numpy as np

    with reading(path, stage):
        with np.load(path, allow_pickle=False) as file:
            found = dict(file)
        for name in needed:
            if name not in found:
                raise WrongError(f"it lacks {name}")
        for name, array in found.items():
            if array.dtype.kind not in "fiuU":
                raise WrongError(f"{name} is {array.dtype}; expected numbers or text")
            if array.dtype.kind == "f" and np.isposinf(array).any():
                raise WrongError(f"{name} has infinite values")
    return found
