"""What a stored file is, and the one way to read it: form, types, ranges, keys, and what it was made from.

Whatever is wrong with a file of a benchmark is one line that names the file, what is wrong, and the stage that writes
it. Tables are read by emobench.stored_tables, by their keys. An array has no keys: the JSON file beside it holds its
digest (:func:`array_digest`).
"""

import dataclasses
import hashlib
import json
import typing
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from emobench.errors import UserError
from emobench.files import SEAL, seal_of
from emobench.quantities import WrongError, check_range

Form = TypeVar("Form")
READ_ERRORS = (
    ValueError, LookupError, TypeError, AttributeError, EOFError, OSError, RecursionError, zipfile.BadZipFile,
    OverflowError, NotImplementedError, ArithmeticError,
)  # fmt: skip
"""What readers raise for a file that is torn, or not what its name says."""
MOST_JSON = 2**28
"""Bytes of a JSON file: what is larger was not written here."""


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


def read_json(path: Path, stage: str, form: Any = dict, called: str = "") -> Any:
    """Reads a JSON file of a form: a dataclass, or ``dict`` for any object.

    Numbers in it are finite and within the ranges that their names say (emobench.quantities). Where it was written
    with a seal (emobench.files.write_sealed), it is as it was written.
    """
    with reading(path, stage, called):
        if path.stat().st_size > MOST_JSON:
            raise WrongError(f"it has {path.stat().st_size} bytes")
        return parse_json(path.read_bytes(), form)


def parse_json(content: bytes, form: Any = dict) -> Any:
    """The same of bytes. Raises WrongError where they are not of the form."""
    from pydantic import ValidationError

    values = json.loads(content.decode("utf-8"))
    try:
        read = _adapter(form).validate_json(content)
    except ValidationError as error:
        raise WrongError(_first(error)) from None
    if isinstance(values, dict) and SEAL in values and values[SEAL] != seal_of(values):
        raise WrongError("its values are not those that were written")
    if isinstance(read, dict):
        read.pop(SEAL, None)
    for name, number in _numbers(values):
        check_range(name, [number])
    return read


def checked(value: Form, form: Any) -> Form:
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
def _adapter(form: Any) -> Any:
    from pydantic import TypeAdapter

    if form is dict:
        return TypeAdapter(dict[str, Any])
    _make_strict(form)
    return TypeAdapter(form)


def _make_strict(form: Any) -> None:
    """Tells pydantic to convert nothing in a dataclass, nor in those within it."""
    from pydantic import ConfigDict

    if isinstance(form, type) and dataclasses.is_dataclass(form):
        made: Any = form
        made.__pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False, revalidate_instances="always")
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


def read_array(
    path: Path, stage: str, *, dtype: str | None, shape: Sequence[int | None] | None, digest: str | None = None,
    key: object = "", note: str = "", finite: bool = False, mapped: bool = True,
) -> Any:  # fmt: skip
    """Reads an array of a known form.

    Args:
        path: the ``.npy`` file.
        stage: that writes it.
        dtype: its type; ``floating`` for any of floating-point numbers; None for any.
        shape: how long each axis is, None where that is not known; or None.
        digest: what :func:`array_digest` gave for it with ``key``; None where nothing was noted.
        key: what the rows stand for.
        note: name of the file that says so, and holds the digest.
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
        check_digest(path, digest, key, note)
        if finite and not np.isfinite(array).all():
            raise WrongError("it has NaN or infinite values")
    return array if mapped else np.array(array)


def check_digest(path: Path, digest: str | None, key: object = "", note: str = "") -> None:
    """Raises WrongError if an array on disk is not the one whose digest was noted; None: nothing was.

    ``note``: name of the file with the digest and what the rows stand for, which may be the one that is wrong.
    """
    if digest is not None and _digest_of(path, path.stat().st_mtime_ns, json.dumps(key)) != digest:
        where = f" in {note}" if note else ""
        raise WrongError(f"its values are not those that were written, or their rows stand for something else{where}")


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
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
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
