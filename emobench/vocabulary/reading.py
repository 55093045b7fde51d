"""Reading a user's list of concepts, as editors and spreadsheets write it: plain text or csv, UTF-8.

A byte order mark, Windows line ends, tabs, quotes and accents in either of Unicode's spellings are no trouble. Lines
that begin with ``#`` are comments, and empty ones at the end are nothing. Everything else is text, html too.
"""

import csv
import io
import unicodedata
from pathlib import Path

from emobench.errors import UserError

Rows = list[tuple[int, str, tuple[str, ...] | None]]
"""Line number, concept, and its classes (None where the file doesn't say)."""
SEPARATORS = ",;\t"


def concepts_in(path: Path) -> dict[str, tuple[str, ...] | None]:
    """Each concept of a file with its classes, as written but in small letters; None where the file doesn't say.

    Args:
        path: ``.txt`` with one concept a line, or ``.csv`` with the columns ``concept`` and ``classes`` (parted by |).

    Raises:
        UserError: it is not UTF-8 text or lacks a column; a concept is empty or stands twice; there is none.
    """
    try:
        # Editors on Windows begin a file with a byte order mark.
        text = path.read_text(encoding="utf-8-sig").rstrip()
    except UnicodeDecodeError:
        raise UserError(f"concept set {path}: expected UTF-8 text") from None
    rows = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _text_rows(path, text)
    found: dict[str, tuple[str, ...] | None] = {}
    lines: dict[str, int] = {}
    for number, concept, classes in rows:
        if not concept:
            raise UserError(f"concept set {path}, line {number}: empty concept; expected one concept a line")
        if concept in lines:
            raise UserError(f"concept set {path}, line {number}: {concept!r} stands already in line {lines[concept]}")
        lines[concept], found[concept] = number, classes
    if not found:
        raise UserError(f"concept set {path}: no concept in it; expected one a line")
    return found


def words(text: str) -> str:
    r"""A concept or class as it is compared: small letters, single spaces, composed accents.

    >>> words(" Closed\tEyes ")
    'closed eyes'
    """
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def _text_rows(path: Path, text: str) -> Rows:
    """Number and concept of each line."""
    # Not splitlines, which also parts at form feeds and Unicode's own separators.
    lines = enumerate(text.split("\n"), 1) if text else ()
    rows: Rows = [(number, _unquoted(line), None) for number, line in lines if not line.lstrip().startswith("#")]
    if len(rows) == 1 and rows[0][1].count(",") > 1:
        raise UserError(f"concept set {path}: all in one line with commas; expected one concept a line")
    return rows


def _unquoted(line: str) -> str:
    """A line's words, without the quotes that spreadsheets put around a whole cell."""
    line = line.strip()
    quoted = len(line) > 1 and line[0] == line[-1] == '"'
    return words(line[1:-1].replace('""', '"') if quoted else line)


def _csv_rows(path: Path, text: str) -> Rows:
    """Line number, concept and classes of each row that is neither empty nor a comment."""
    head = next((line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")), "")
    separator = max(SEPARATORS, key=head.count)
    # Strict: a quote that is never closed would make one concept of all that follows.
    stream = io.StringIO(text, newline="")
    reader = csv.reader(stream, delimiter=separator, skipinitialspace=separator != "\t", strict=True)
    rows: Rows = []
    columns: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#"):
                continue
            if columns is None:
                columns = [words(cell) for cell in cells]
                if not {"concept", "classes"} <= set(columns):
                    raise UserError(f"concept set {path} has the columns {columns}; expected concept,classes")
                continue
            if len(cells) > len(columns):
                what = f"{len(cells)} cells in {len(columns)} columns; expected classes parted by |"
                raise UserError(f"concept set {path}, line {reader.line_num}: {what}")
            row = dict(zip(columns, cells, strict=False))
            classes = tuple(word for name in row.get("classes", "").split("|") if (word := words(name)))
            rows.append((reader.line_num, words(row.get("concept", "")), classes))
    except csv.Error as error:
        raise UserError(f"concept set {path}, line {reader.line_num}: not a csv table ({error})") from None
    return rows
