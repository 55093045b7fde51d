"""Tables whose cells hold the pixels: FER2013's csv files, and CK+ in the same form."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from PIL import Image

from emobench.errors import UserError
from emobench.faces.raw import RawImages
from emobench.faces.readers.archives import Member, lines_of, zip_errors
from emobench.faces.readers.entries import Wanted
from emobench.faces.readers.pictures import fitted
from emobench.progress import progress
from emobench.vocabulary import SPLITS
from emobench.vocabulary.class_names import BASIC, stated_classes, whole_number

SIDE = 48
SPLIT_OF_USAGE = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
COLUMNS = ("emotion", "pixels", "Usage")
LEVELS = {str(level): level for level in range(256)}
LOOK_ROWS = 200


@dataclass(frozen=True)
class Row:
    """One picture of the table: its pixels as bytes, its emotion's number, its split (empty: no column Usage)."""

    pixels: bytes
    emotion: int
    split: str


def read_pixels(where: str, member: Member, wanted: Wanted) -> RawImages:
    """Reads a csv with the columns emotion, pixels and mostly Usage, row by row.

    Args:
        where: the table, for messages.
        member: the file.
        wanted: size, channels and stated classes; without stated ones emotion 0 to 6 are FER2013's, 7 is contempt.

    Returns:
        The images in the order train, val, test, and in file order within a split.

    Raises:
        UserError: not a csv, a missing column, or a cell that is not what its column holds.
    """
    order = stated_classes(wanted.classes) or (*BASIC, "contempt")
    found = table_rows(where, member, len(order))
    rows = _some(found, wanted.sample) if wanted.look else list(found)
    if not rows:
        raise UserError(f"{where}: no image of class {order[0]} in split train; expected at least one")
    said = []
    if not wanted.classes:
        contempt = any(row.emotion == len(BASIC) for row in rows)
        order = order if contempt else BASIC
        said = ["emotion 7 is contempt, as in the csv of CK+"] * contempt
    if wanted.look:
        said.append(f"a csv of pixels, of which {len(rows)} rows were read")
    return images_of(rows, [f"csv/{row:06d}" for row in range(len(rows))], order, wanted, said)


def _some(rows: Iterator[Row], sample: int) -> list[Row]:
    """The first rows, then as many of val as are wanted."""
    first = list(islice(rows, LOOK_ROWS))
    return first + list(islice((row for row in rows if row.split == "val"), sample)) if sample else first


def images_of(rows: list[Row], ids: list[str], classes: tuple[str, ...], wanted: Wanted, said: list[str]) -> RawImages:
    """The images of table rows by split, resized where another size or colour is wanted."""
    rank = {name: place for place, name in enumerate((*SPLITS, ""))}
    order = sorted(range(len(rows)), key=lambda row: (rank[rows[row].split], row))
    images = np.frombuffer(b"".join(rows[row].pixels for row in order), np.uint8).reshape(-1, SIDE, SIDE)
    if wanted.shape != (SIDE, SIDE):
        resized = [fitted("csv", Image.fromarray(image), wanted.size, wanted.channels).pixels for image in images]
        images = np.stack(resized)
    labels = np.array([rows[row].emotion for row in order], np.int64)
    splits = [rows[row].split for row in order]
    return RawImages(images, [ids[row] for row in order], labels, splits, classes, None, tuple(said))


def table_rows(where: str, member: Member, classes: int) -> Iterator[Row]:
    """Yields the rows of a csv of pixels."""
    with (
        zip_errors(where),
        member.open() as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text,
        progress(total=member.size, desc="reading csv", unit="B") as bar,
    ):
        line = 1
        try:
            lines = lines_of(where, text)
            header = next(lines, "")
            rows = csv.reader(chain([header], lines), delimiter=separator_of(header))
            columns = _columns(where, next(rows, []))
            for row in rows:
                line = rows.line_num
                if any(map(str.strip, row)):
                    yield _row(f"{where}, line {line}", row, columns, classes)
                bar.update(sum(map(len, row)))
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{where}, near line {line + 1}: not a csv text ({error}); expected UTF-8") from None


def separator_of(header: str) -> str:
    """What separates the columns of a header: comma, semicolon or tab, whichever occurs most.

    >>> separator_of("emotion;pixels;Usage")
    ';'
    """
    return max(",;\t", key=header.count)


def _columns(where: str, header: list[str]) -> list[int]:
    """Where the columns stand; -1 for a missing Usage. One release writes a space before their names."""
    names = [name.strip().lower() for name in header]
    missing = [name for name in COLUMNS[:2] if name not in names]
    if missing:
        found = ", ".join(name.strip() for name in header[:6]) or "nothing"
        raise UserError(
            f"{where}: lacks the column {', '.join(missing)}; expected {', '.join(COLUMNS)}, separated by comma, "
            f"semicolon or tab; found {found}"
        )
    return [names.index(name.lower()) if name.lower() in names else -1 for name in COLUMNS]


def _row(where: str, row: list[str], columns: list[int], classes: int) -> Row:
    """One row's pixels, label and split."""
    if len(row) <= max(columns):
        raise UserError(f"{where}: has {len(row)} cells; expected {', '.join(COLUMNS)}")
    emotion, text, usage = (row[column].strip() if column >= 0 else "" for column in columns)
    number = whole_number(emotion)
    if number is None or number >= classes:
        raise UserError(f"{where}: unknown emotion {emotion!r}; expected 0 to {classes - 1}")
    if columns[2] >= 0 and usage not in SPLIT_OF_USAGE:
        raise UserError(f"{where}: unknown Usage {usage!r}; known: {', '.join(SPLIT_OF_USAGE)}")
    values = text.split()
    if len(values) != SIDE * SIDE:
        raise UserError(f"{where}: has {len(values)} pixels; expected {SIDE * SIDE}")
    try:
        return Row(bytes(map(LEVELS.__getitem__, values)), number, SPLIT_OF_USAGE.get(usage, ""))
    except KeyError as error:
        raise UserError(f"{where}: pixel value {error.args[0]!r}; expected an integer from 0 to 255") from None
