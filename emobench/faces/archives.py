"""The files of a zip or a folder, read one by one: nothing is extracted, nothing outside is touched."""

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from emobench.errors import UserError


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
    open: Callable[[], BinaryIO]


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
    """Lists the files below a folder, without litter. Linked files count, linked folders are not entered."""
    members = []
    for folder, _, names in os.walk(path):
        for file in (Path(folder) / name for name in names):
            name = file.relative_to(path).as_posix()
            if not _is_litter(name) and file.is_file():
                members.append(Member(name, file.stat().st_size, partial(file.open, "rb")))
    return members


def without_common_folders(names: list[str], stops: set[str]) -> list[str]:
    """Strips the leading folders that all names share, up to one that is called like a stop.

    >>> without_common_folders(["archive/train/a.jpg", "archive/test/b.jpg"], {"train", "test"})
    ['train/a.jpg', 'test/b.jpg']
    """
    parts = [name.split("/") for name in names]
    while all(len(part) > 1 and part[0] == parts[0][0] and part[0] not in stops for part in parts):
        parts = [part[1:] for part in parts]
    return ["/".join(part) for part in parts]


def _is_litter(name: str) -> bool:
    """Whether an operating system left the file."""
    parts = name.split("/")
    return "__MACOSX" in parts or parts[-1].startswith(".") or parts[-1] in ("Thumbs.db", "desktop.ini")
