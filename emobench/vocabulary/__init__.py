"""Concept sets and which classes a concept speaks for: plain data, the reader of the user's own, and the card.

Concepts and classes are lower case. A concept set is a built-in name or a file: text with one concept a line, or csv
with the columns ``concept`` and ``classes`` (several parted by ``|``, none allowed). The built-in map is the seed
paper's. The set ``emotions`` is the classes of the data at hand; a class name as a concept stands for itself.
"""

import csv
from functools import cache
from pathlib import Path

from emobench.errors import UserError, unknown_name

FOLDER = Path(__file__).parent
SPLITS = ("train", "val", "test")
EMOTIONS = "emotions"
"""The concept set that is the classes of the data."""
OWN_FOLDER = Path("concepts")
"""Where the user's files lie: DVC watches this folder, so that a changed text is seen."""
SUFFIXES = (".txt", ".csv")


def built_in_sets() -> tuple[str, ...]:
    """Names of the concept sets that ship with emobench."""
    return tuple(sorted({EMOTIONS, *(path.stem for path in FOLDER.glob("*.txt"))}))


def is_file(name: str) -> bool:
    """Whether a concept set is named by its file."""
    return name.endswith(SUFFIXES)


def set_label(name: str) -> str:
    """The short name of a concept set, as tables show it: the file's stem."""
    return Path(name).stem if is_file(name) else name


def concept_set(name: str) -> tuple[str, ...]:
    """The concepts of a built-in set or of a file (``emotions`` has none before the data are known).

    Raises:
        UserError: no such set, or one that can't be read.

    >>> len(concept_set("expressions"))
    25
    """
    return tuple(read_concepts(name))


def read_concepts(name: str) -> dict[str, tuple[str, ...] | None]:
    """Reads a concept set: each concept's classes as the file has them; None where it doesn't say.

    Args:
        name: a built-in set's, or the path of a ``.txt`` or ``.csv`` file.

    Raises:
        UserError: no such set; a file that is not UTF-8 text; a concept that is empty or stands twice; none at all.
    """
    path = Path(name) if is_file(name) else FOLDER / f"{name}.txt"
    if name == EMOTIONS:
        return {}
    if not path.is_file():
        raise unknown_name("concept set", name, [*built_in_sets(), "or the path of a .txt or .csv file"])
    try:
        # Editors on Windows begin a file with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"concept set {path}: expected UTF-8 text") from None
    rows = _csv_rows(path, text) if path.suffix == ".csv" else _text_rows(path, text)
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


def _words(text: str) -> str:
    """A concept or class as it is compared: lower case, single spaces."""
    return " ".join(text.lower().split())


def _text_rows(path: Path, text: str) -> list[tuple[int, str, None]]:
    """Number and concept of each line; comments and what is empty at the end are left out."""
    lines = text.rstrip().splitlines()
    rows = [(number, _words(line), None) for number, line in enumerate(lines, 1) if not line.lstrip().startswith("#")]
    if len(rows) == 1 and rows[0][1].count(",") > 1:
        raise UserError(f"concept set {path}: all in one line with commas; expected one concept a line")
    return rows


def _csv_rows(path: Path, text: str) -> list[tuple[int, str, tuple[str, ...]]]:
    """Line number, concept and classes of each row."""
    reader = csv.DictReader(text.rstrip().splitlines(), skipinitialspace=True)
    if not {"concept", "classes"} <= set(reader.fieldnames or ()):
        raise UserError(f"concept set {path} has the columns {reader.fieldnames}; expected concept,classes")
    rows = []
    for row in reader:
        classes = tuple(word for one in (row["classes"] or "").split("|") if (word := _words(one)))
        rows.append((reader.line_num, _words(row["concept"] or ""), classes))
    return rows


@cache
def concept_classes() -> dict[str, tuple[str, ...]]:
    """The seed paper's map: the classes each of the 25 expressions speaks for.

    >>> concept_classes()["closed eyes"]
    ('sad', 'neutral', 'fear')
    """
    with open(FOLDER / "concept_classes.csv", newline="", encoding="utf-8") as file:
        return {row["concept"]: tuple(row["classes"].split("|")) for row in csv.DictReader(file)}
