"""Readers of FER2013's three forms: the Kaggle folder release as a zip or extracted, and the official csv.

Labels go by name, in the order of emobench.vocabulary.CLASSES. Folders in alphabetical order would put neutral
before sad; the csv's numbers have the vocabulary's order. Nothing is extracted: a zip is read entry by entry.
"""

import csv
import io
import zipfile
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from emobench.errors import UserError
from emobench.faces.archives import Member, folder_members, without_common_folders, zip_errors, zip_members
from emobench.faces.raw import RawImages
from emobench.progress import progress
from emobench.vocabulary import CLASSES, SPLITS

SIZE = 48
SPLIT_OF_USAGE = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
USAGES_OF_FOLDER = {"train": ("Training",), "test": ("PublicTest", "PrivateTest")}
CSV_COLUMNS = ("emotion", "pixels", "Usage")
FORMS = (
    "expected the Kaggle release (train/<class>/ and test/<class>/) as zip or folder, or fer2013.csv, alone or zipped"
)
LEVELS = {str(level): level for level in range(256)}
MAX_IMAGE_BYTES = 1 << 20
"""A 48x48 picture needs a few kilobytes; a larger entry is refused before it is unpacked."""


def read_fer2013(path: Path) -> RawImages:
    """Reads FER2013 from the Kaggle release (zip or folder) or the official csv (plain or zipped).

    Args:
        path: a zip, a csv or a folder. A common top folder inside is allowed; hidden files, ``__MACOSX`` and
            ``Thumbs.db`` are ignored.

    Returns:
        The images in the order train, val, test, and by image_id within a split.

    Raises:
        UserError: the archive is missing, none of these forms, truncated, locked by a password or has an entry that
            points outside; a name, picture, csv cell or class is not what the form says.
    """
    path = Path(path)
    if path.is_dir():
        return _read_members(path, folder_members(path))
    if not path.is_file():
        raise UserError(f"no FER2013 archive at {path}; {FORMS}")
    with open(path, "rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip and zipfile.is_zipfile(path):
        with zip_errors(path), zipfile.ZipFile(path) as archive:
            return _read_members(path, zip_members(path, archive))
    if is_zip:
        raise UserError(f"{path} is a truncated or damaged zip (no directory at its end); expected the whole file")
    if path.suffix.lower() == ".csv":
        return _read_csv(str(path), Member(path.name, path.stat().st_size, partial(path.open, "rb")))
    raise UserError(f"{path} is neither a zip, a csv nor a folder; {FORMS}")


def _read_members(path: Path, members: list[Member]) -> RawImages:
    """Reads a zip's or folder's files: one csv, or pictures in class folders."""
    tables = [member for member in members if member.name.lower().endswith(".csv")]
    # The challenge's own download holds further tables beside fer2013.csv.
    named = [member for member in tables if PurePosixPath(member.name).name.lower() == "fer2013.csv"]
    if len(named or tables) == 1:
        (table,) = named or tables
        return _read_csv(f"{path}: {table.name}", table)
    if tables:
        names = ", ".join(member.name for member in tables[:4])
        raise UserError(f"{path} holds several csv files ({names}); expected one, named fer2013.csv")
    if not members:
        raise UserError(f"{path} is empty; {FORMS}")
    return _read_pictures(path, members)


def _read_pictures(path: Path, members: list[Member]) -> RawImages:
    """Reads the folder release."""
    names = without_common_folders([member.name for member in members], set(USAGES_OF_FOLDER))
    if not any(name.split("/")[0] in USAGES_OF_FOLDER for name in names):
        found = ", ".join(sorted({name.split("/")[0] for name in names})[:4])
        raise UserError(f"{path} has neither train/ nor test/ (found {found}); {FORMS}")
    placed = [(*_place(path, name), name, member) for name, member in zip(names, members, strict=True)]
    placed.sort(key=lambda row: (SPLITS.index(row[0]), row[2]))
    splits, labels, ids, members = map(list, zip(*placed, strict=True))
    twice = next((first for first, second in pairwise(ids) if first == second), None)
    if twice is not None:
        raise UserError(f"{path}: {twice} stands there twice; expected each file once")
    _check_classes(str(path), labels, splits)
    images = np.empty((len(ids), SIZE, SIZE), np.uint8)
    for position, member in enumerate(progress(members, desc="reading images", unit="image")):
        images[position] = _decode(f"{path}: {ids[position]}", member)
    return RawImages(images, ids, np.array(labels, np.int64), splits)


def _place(path: Path, image_id: str) -> tuple[str, int]:
    """The split and label that a picture's path says."""
    parts = image_id.split("/")
    if len(parts) != 3 or parts[0] not in USAGES_OF_FOLDER:
        raise UserError(f"{path}: unexpected file {image_id}; expected train/<class>/<file> or test/<class>/<file>")
    folder, name, file = parts
    if name.lower() not in CLASSES:
        raise UserError(f"{path}: unknown class folder {folder}/{name}; known: {', '.join(CLASSES)}")
    usage = file.split("_")[0]
    if usage not in USAGES_OF_FOLDER[folder]:
        expected = " or ".join(f"{known}_" for known in USAGES_OF_FOLDER[folder])
        raise UserError(f"{path}: {image_id}: the file name gives no split; expected it to start with {expected}")
    return SPLIT_OF_USAGE[usage], CLASSES.index(name.lower())


def _decode(where: str, member: Member) -> np.ndarray:
    """One picture as uint8 (48, 48)."""
    if member.size > MAX_IMAGE_BYTES:
        raise UserError(f"{where} has {member.size} bytes; expected a 48x48 picture of at most {MAX_IMAGE_BYTES}")
    with zip_errors(where), member.open() as file:
        content = file.read()
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            if image.size == (SIZE, SIZE):
                return np.asarray(image.convert("L"))
            size = "x".join(map(str, image.size))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{where}: can't be decoded ({_short(error)}); expected a JPEG or PNG picture") from None
    raise UserError(f"{where} has {size} pixels; expected {SIZE}x{SIZE}")


def _short(error: Exception) -> str:
    """An exception's text in one line, without the memory address that Pillow adds."""
    return " ".join(str(error).split("<_io")[0].split())


def _read_csv(where: str, member: Member) -> RawImages:
    """Reads the official csv row by row."""
    images, labels, splits = [], [], []
    with (
        zip_errors(where),
        member.open() as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text,
        progress(total=member.size, desc="reading csv", unit="B") as bar,
    ):
        rows = csv.reader(text)
        try:
            columns = _csv_columns(where, next(rows, []))
            for row in rows:
                image, label, split = _csv_row(f"{where}, line {rows.line_num}", row, columns)
                images.append(image)
                labels.append(label)
                splits.append(split)
                bar.update(sum(map(len, row)))
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{where}, near line {rows.line_num}: not a csv text ({error}); expected UTF-8") from None
    order = sorted(range(len(images)), key=lambda row: (SPLITS.index(splits[row]), row))
    _check_classes(where, labels, splits)
    pixels = np.frombuffer(b"".join(images[row] for row in order), np.uint8).reshape(-1, SIZE, SIZE)
    return RawImages(
        pixels,
        [f"csv/{row:06d}" for row in order],
        np.array(labels, np.int64)[order],
        [splits[row] for row in order],
    )


def _csv_columns(where: str, header: list[str]) -> list[int]:
    """Where the three columns stand. One release writes a space before their names."""
    names = [name.strip() for name in header]
    missing = [name for name in CSV_COLUMNS if name not in names]
    if missing:
        raise UserError(f"{where}: lacks the column {', '.join(missing)}; expected {', '.join(CSV_COLUMNS)}")
    return [names.index(name) for name in CSV_COLUMNS]


def _csv_row(where: str, row: list[str], columns: list[int]) -> tuple[bytes, int, str]:
    """The pixels, label and split of one csv row."""
    if len(row) <= max(columns):
        raise UserError(f"{where}: has {len(row)} cells; expected {', '.join(CSV_COLUMNS)}")
    emotion, text, usage = (row[column].strip() for column in columns)
    if emotion not in map(str, range(len(CLASSES))):
        raise UserError(f"{where}: unknown emotion {emotion!r}; expected 0 to {len(CLASSES) - 1}")
    if usage not in SPLIT_OF_USAGE:
        raise UserError(f"{where}: unknown Usage {usage!r}; known: {', '.join(SPLIT_OF_USAGE)}")
    values = text.split()
    if len(values) != SIZE * SIZE:
        raise UserError(f"{where}: has {len(values)} pixels; expected {SIZE * SIZE}")
    try:
        return bytes(map(LEVELS.__getitem__, values)), int(emotion), SPLIT_OF_USAGE[usage]
    except KeyError as error:
        raise UserError(f"{where}: pixel value {error.args[0]!r}; expected an integer from 0 to 255") from None


def _check_classes(where: str, labels: list[int], splits: list[str]) -> None:
    """Refuses a set in which a split has no image of some class."""
    seen = set(zip(splits, labels, strict=True))
    for split in SPLITS:
        for label, name in enumerate(CLASSES):
            if (split, label) not in seen:
                raise UserError(f"{where}: no image of class {name} in split {split}; expected at least one")
