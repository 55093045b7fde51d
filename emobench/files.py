"""Writing files so that a reader never sees half of one: a temporary name first, then a rename."""

import glob
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emobench.failures import naming


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path``; what was written there replaces ``path`` if the block succeeds.

    Works for a file and for a folder. After an exception the temporary is removed and ``path`` is as it was.

    Args:
        path: where the result is wanted. Its parent folders are made.

    Yields:
        The temporary path (same suffix, so that writers which look at it behave).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    _remove_dead(path)
    try:
        with naming(path):
            yield temporary
            if path.is_dir():
                shutil.rmtree(path)
            os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def readable(path: Path) -> None:
    """Gives a file the mode that the umask lets: safetensors keeps its files to their owner."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def _remove_dead(path: Path) -> None:
    """Removes what runs that were killed left of ``path``: temporaries whose process is gone."""
    pattern = re.compile(rf"\.{re.escape(path.stem)}\.(\d+)\.tmp{re.escape(path.suffix)}")
    for left in path.parent.glob(f".{glob.escape(path.stem)}.*.tmp*"):
        found = pattern.fullmatch(left.name)
        if found and int(found[1]) != os.getpid() and not _runs(int(found[1])):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as indented JSON, atomically. NaN, which JSON lacks, becomes null."""
    text = json.dumps(_without_nan(value), indent=2, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text)


SEAL = "seal"
"""Key in a JSON object: the digest of all else in it."""


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a JSON object with its seal, by which emobench.stored knows one that somebody or something changed."""
    write_json(path, {**values, SEAL: seal_of(_without_nan(dict(values)))})


def seal_of(values: Mapping[str, Any]) -> str:
    """sha256 of a JSON object without its seal, whatever the order of its keys."""
    text = json.dumps({key: value for key, value in values.items() if key != SEAL}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_nan(value: Any) -> Any:
    """The same nested value with None for every NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value


KEYS = (
    "image_id", "network", "layer", "layers", "concept_set", "similarity_fn", "unit", "source", "metric", "config_id",
    "images", "selected_on", "kind", "penalty", "exponent",
)  # fmt: skip
"""Columns that say what a row stands for."""
MARK = "emobench"
"""Under this name a table's parquet file notes how many rows and which columns it has, and what it was made from."""


def write_parquet(path: Path, table: Any, made_from: Mapping[str, str] | None = None) -> None:
    """Writes a pandas table without its row index as parquet, atomically.

    Args:
        path: where to.
        table: the table.
        made_from: digests of what it was made from, by a word (``images``, ``network``), for emobench.stored.
    """
    noted = {"rows": len(table), "columns": [str(name) for name in table.columns], "keys": keys_digest(table)}
    noted["made_from"] = dict(made_from or {})
    with replacing(path) as temporary:
        marked = table.copy(deep=False)
        marked.attrs = {MARK: noted}
        marked.to_parquet(temporary, index=False, write_page_checksum=True)


def write_csv(path: Path, table: Any) -> None:
    """Writes a pandas table without its row index as csv with 6 significant digits, atomically."""
    with replacing(path) as temporary:
        as_text = table.select_dtypes(exclude=["number", "bool"]).columns
        safe = table.assign(**{name: table[name].map(safe_cell) for name in as_text}) if len(as_text) else table
        safe.to_csv(temporary, index=False, float_format="%.6g")


def safe_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe before it.

    >>> safe_cell("=1+1"), safe_cell("smile"), safe_cell(-0.5), safe_cell("-0.5")
    ("'=1+1", 'smile', -0.5, '-0.5')
    """
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def write_array(path: Path, array: Any) -> None:
    """Writes a NumPy array as ``.npy``, atomically."""
    import numpy as np

    with replacing(path) as temporary:
        np.save(temporary, array, allow_pickle=False)


def keys_digest(table: Any) -> str:
    """sha256 of what the rows of a pandas table stand for, in their order."""
    from pandas.util import hash_pandas_object

    keys = table[[name for name in KEYS if name in table.columns]]
    return hashlib.sha256(hash_pandas_object(keys, index=False).to_numpy().tobytes()).hexdigest()


def new_array(path: Path, shape: tuple[int, ...]) -> Any:
    """Makes a float32 ``.npy`` file to be filled through memory, its space taken at once.

    A file with holes would end the process by a signal where the disk is full, at any write to memory.

    Raises:
        OSError: there is no space for it.
    """
    import numpy as np

    array = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            try:
                os.posix_fallocate(file.fileno(), 0, max(size, 1))
            except OSError as error:
                needs = f"{error.strerror}, of which it takes {size / 2**20:.1f} MiB"
                raise OSError(error.errno, needs, str(path)) from None
    return array


def write_arrays(path: Path, arrays: Mapping[str, Any], *, compressed: bool = True) -> None:
    """Writes named NumPy arrays as an ``.npz``, atomically. Any name will do, also those of numpy.savez's arguments."""
    import numpy as np

    way = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", way) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
