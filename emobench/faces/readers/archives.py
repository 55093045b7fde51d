"""The files of a zip or a folder, read one by one: nothing is extracted, nothing outside is touched."""

import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, TextIO

from emobench.errors import UserError

TABLES = (".csv", ".tsv", ".parquet", ".jsonl")
LONGEST_LINE, MOST_LINES = 2**20, 10**6
"""Of a table; 48 x 48 pixels take 9,216 characters."""
MOST_TABLE = 2**29
"""Bytes of a table that is read as a whole."""
PACKED = (".tar", ".gz", ".tgz", ".7z", ".rar", ".zip")


@dataclass(frozen=True)
class Member:
    """A file of a zip or folder.

    Attributes:
        name: its path there, with forward slashes.
        size: bytes when unpacked.
        open: opens it for reading.
    """

    name: str
    size: int
    open: Callable[[], IO[Any]]


@contextmanager
def zip_errors(where: object) -> Iterator[None]:
    """Turns what a damaged zip raises into a UserError that names ``where``."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError(f"{where}: damaged or unsupported zip ({error}); expected a whole, plain zip") from None


def zip_members(path: Path, archive: zipfile.ZipFile) -> list[Member]:
    """Lists the files of a zip, without what operating systems leave there.

    Raises:
        UserError: an entry needs a password or its name points outside the zip's folder.
    """
    members = []
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
            raise UserError(f"{path}: entry {info.filename!r} points outside the archive; expected a path within it")
        if info.is_dir() or name.endswith("/") or _is_litter(name):
            continue
        if info.flag_bits & 1:
            raise UserError(f"{path}: entry {name} is locked by a password; expected a zip without one")
        members.append(Member(name, info.file_size, partial(archive.open, info)))
    return members


def folder_members(path: Path) -> list[Member]:
    """Lists the files below a folder, without litter. Linked files count, linked folders are not entered.

    What is no file (a pipe, a device, a link to nothing) is skipped, which is said.
    """
    members, strange = [], []
    for folder, _, names in os.walk(path):
        for file in (Path(folder) / name for name in names):
            name = file.relative_to(path).as_posix()
            if _is_litter(name):
                continue
            if file.is_file():
                members.append(Member(name, file.stat().st_size, partial(file.open, "rb")))
            else:
                strange.append(f"{name}: {'a pipe, socket or device' if file.exists() else 'a link to nothing'}")
    if strange:
        some = ", ".join(sorted(strange)[:3])
        print(f"{path}: skipped {len(strange)} entries that are no files ({some})", file=sys.stderr)
    return sorted(members, key=lambda member: member.name)


@contextmanager
def opened(path: Path) -> Iterator[list[Member]]:
    """Lists the files of a zip or folder, which can be read while the block lasts; a lone file is a list of one.

    Raises:
        UserError: nothing there, an empty folder, or a zip that is damaged, locked or points outside.
    """
    path = Path(path)
    if path.is_dir():
        yield _some(path, folder_members(path))
        return
    if not path.is_file():
        raise UserError(f"no file or folder {path}; expected a zip, a folder or a table")
    with open(path, "rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip and zipfile.is_zipfile(path):
        with zip_errors(path), zipfile.ZipFile(path) as archive:
            yield _some(path, zip_members(path, archive))
    elif is_zip:
        raise UserError(f"{path} is a truncated or damaged zip (no directory at its end); expected the whole file")
    elif path.suffix.lower() in (*TABLES, *PACKED):
        if path.suffix.lower() in PACKED:
            raise UserError(f"{path} is no zip; expected a zip, or what is packed in it as a folder")
        yield [Member(path.name, path.stat().st_size, partial(path.open, "rb"))]
    else:
        raise UserError(f"{path} is neither a zip, a table ({', '.join(TABLES)}) nor a folder")


def _some(path: Path, members: list[Member]) -> list[Member]:
    if not members:
        raise UserError(f"{path} is empty; expected pictures or a table in it")
    return members


def lines_of(where: str, text: TextIO) -> Iterator[str]:
    """The lines of a table, none of which may fill the memory.

    Raises:
        UserError: one is longer than any row can be, or there are too many.
    """
    for number, line in enumerate(iter(lambda: text.readline(LONGEST_LINE), ""), start=1):
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            raise UserError(f"{where}, line {number}: longer than {LONGEST_LINE} characters; expected a row of a table")
        if number > MOST_LINES:
            raise UserError(f"{where}: more than {MOST_LINES} lines; expected at most as many")
        yield line


def content(where: str, member: Member, limit: int) -> bytes:
    """A file's bytes. Raises UserError if it has more than ``limit``, before it is unpacked, or is damaged."""
    if member.size > limit:
        raise UserError(f"{where} has {member.size} bytes; expected at most {limit}")
    with zip_errors(where), member.open() as file:
        return file.read()


def without_common_folders(names: list[str], stops: Collection[str]) -> list[str]:
    """Strips the leading folders that all names share, up to one that is called like a stop (whatever its case).

    The folder of each file stays: it may be the only class.

    >>> without_common_folders(["archive/train/a.jpg", "archive/test/b.jpg"], {"train", "test"})
    ['train/a.jpg', 'test/b.jpg']
    """
    parts = [name.split("/") for name in names]
    while parts and all(len(part) > 2 and part[0] == parts[0][0] and part[0].lower() not in stops for part in parts):
        parts = [part[1:] for part in parts]
    return ["/".join(part) for part in parts]


def _is_litter(name: str) -> bool:
    """Whether an operating system left the file."""
    parts = name.split("/")
    return "__MACOSX" in parts or parts[-1].startswith(".") or parts[-1] in ("Thumbs.db", "desktop.ini")
