"""Pictures listed in a table: csv, tsv, parquet or jsonl, like Hugging Face imagefolder's ``metadata.csv``."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from emobench.errors import UserError, unknown_name
from emobench.faces.raw import RawImages
from emobench.faces.readers.archives import MOST_TABLE, TABLES, Member, content, opened
from emobench.faces.readers.entries import SPLIT_NAMES, Entry, Wanted, gather, pictures_of, strangers
from emobench.faces.readers.pictures import Box
from emobench.faces.readers.pixels import separator_of

COLUMNS = {
    "file_name": ("file_name", "filename", "file", "path", "image", "image_path", "filepath", "img"),
    "label": ("label", "emotion", "expression", "class", "labels"),
    "split": ("split", "usage", "subset", "partition"),
    "subject": ("subject", "subject_id", "person", "identity"),
}
"""What a column may be called, in small letters, the first that is there; split and subject may be missing."""
CORNERS = (("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"), ("xmin", "ymin", "xmax", "ymax"))
SIDES = ("x", "y", "width", "height")
Record = Mapping[str, str]


def read_table(path: Path, wanted: Wanted) -> RawImages:
    """Reads the pictures that a table lists.

    Args:
        path: a folder or a zip with pictures and a table, or a table for each split (``train/metadata.csv``, or
            ``train.csv``). Paths in it are relative to its own folder, or to the top.
        wanted: size and channels of the stored pictures, and the stated classes.

    Raises:
        UserError: no table, a missing column, a picture that is not there, stands twice or lies outside, a box that is
            no box, or as in :func:`emobench.faces.readers.entries.gather`.
    """
    with opened(path) as members:
        tables = [member for member in members if member.name.lower().endswith(TABLES)]
        pictures, said = pictures_of([member for member in members if member not in tables])
        if not tables or not pictures:
            kind = "table" if not tables else "picture"
            raise UserError(f"{path}: no {kind} in it; expected a folder or zip with pictures and a table of them")
        by_name = {member.name: member for member in pictures}
        listed = [_entries(f"{path}: {table.name}", table, by_name, len(tables)) for table in tables]
        entries = [entry for rows in listed for entry in rows]
        unlisted = set(by_name) - {entry.image_id for entry in entries}
        said = [*said, *(f"not listed: {line}" for line in strangers(sorted(unlisted)))]
        return gather(str(path), entries, wanted, said)


def _entries(where: str, table: Member, pictures: Mapping[str, Member], tables: int) -> list[Entry]:
    """The rows of one table."""
    records = _records(where, table)
    columns = {name: next((one for one in known if one in records[0]), "") for name, known in COLUMNS.items()}
    missing = [name for name in ("file_name", "label") if not columns[name]]
    if missing:
        raise UserError(
            f"{where}: lacks the column {' and '.join(missing)} (other names: {', '.join(COLUMNS[missing[0]][1:])}); "
            f"found {', '.join(list(records[0])[:8])}"
        )
    folder = PurePosixPath(table.name).parent
    # With one table for all, its folder and name say nothing of splits.
    said = [part for part in (folder.name.lower(), PurePosixPath(table.name).stem.lower()) if part in SPLIT_NAMES]
    split = SPLIT_NAMES[said[-1]] if said and tables > 1 else ""
    entries = []
    for number, record in enumerate(records, start=1):
        row = f"{where}, row {number}"
        name = _path(row, record[columns["file_name"]], folder, pictures)
        label = record[columns["label"]].strip()
        if not label:
            raise UserError(f"{row}: no label for {name}; expected the name of a class")
        own = _split(row, record[columns["split"]]) if columns["split"] else split
        subject = record.get(columns["subject"], "").strip()
        entries.append(Entry(name, label, own, pictures[name], subject, _box(row, record)))
    return entries


def _path(where: str, text: str, folder: PurePosixPath, pictures: Mapping[str, Member]) -> str:
    """A listed picture's path in the archive."""
    path = PurePosixPath(text.strip().replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or text[1:2] == ":":
        raise UserError(f"{where}: {text} leaves the folder; expected a path within it")
    for name in (str(folder / path), str(path)):
        if name in pictures:
            return name
    raise UserError(f"{where}: no picture {text}; expected its path relative to the table's folder")


def _split(where: str, text: str) -> str:
    """The split that a cell names."""
    name = text.strip().lower()
    if name not in SPLIT_NAMES:
        raise unknown_name(f"split in {where}:", text, SPLIT_NAMES)
    return SPLIT_NAMES[name]


def _box(where: str, record: Record) -> Box | None:
    """The box of a face: two corners, or a corner and two sides; None without such columns or with empty cells."""
    names = next((names for names in (*CORNERS, SIDES) if set(names) <= set(record)), None)
    cells = [record[name].strip() for name in names or ()]
    if not any(cells):
        return None
    try:
        left, top, right, bottom = map(float, cells)
    except ValueError:
        raise UserError(f"{where}: the box is {', '.join(cells)}; expected four numbers") from None
    return (left, top, left + right, top + bottom) if names == SIDES else (left, top, right, bottom)


def _records(where: str, table: Member) -> list[Record]:
    """The rows of a table as text, by column names in small letters."""
    suffix = PurePosixPath(table.name).suffix.lower()
    read = content(where, table, MOST_TABLE)
    try:
        rows: Sequence[Mapping[str, Any]]
        if suffix == ".parquet":
            import pandas as pd

            rows = pd.read_parquet(io.BytesIO(read)).to_dict("records")
        elif suffix == ".jsonl":
            rows = [json.loads(line) for line in read.decode("utf-8-sig").splitlines() if line.strip()]
        else:
            text = read.decode("utf-8-sig")
            separator = "\t" if suffix == ".tsv" else separator_of(text.partition("\n")[0])
            rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator))
        records: list[Mapping[str, str]] = [
            {str(key).strip().lower(): _text(value) for key, value in row.items()} for row in rows
        ]
    except (ValueError, OSError, AttributeError, csv.Error) as error:
        raise UserError(f"{where}: can't be read as {suffix[1:]} ({' '.join(str(error).split())[:100]})") from None
    if not records:
        raise UserError(f"{where}: no rows; expected one a picture")
    return records


def _text(value: Any) -> str:
    """A cell as text; missing values are empty."""
    return "" if value is None or value != value else str(value)
