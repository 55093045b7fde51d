"""Class names in their order, concept sets, and which classes a concept speaks for: plain data and its reader.

Concepts and classes are lower case. A concept set is a text file, one concept a line; a name without a path means
a file beside this module. The map is the seed paper's; a class name as a concept stands for itself.
"""

import csv
from functools import cache
from pathlib import Path

from emobench.errors import UserError, unknown_name

FOLDER = Path(__file__).parent
CLASSES = tuple((FOLDER / "emotions.txt").read_text().split())
"""The seven classes in label order: label 0 is angry, label 6 is neutral."""
SPLITS = ("train", "val", "test")


def built_in_sets() -> tuple[str, ...]:
    """Names of the concept sets that ship with emobench."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.txt")))


def concept_set(name: str) -> tuple[str, ...]:
    """Reads a concept set: a built-in name, or the path of a text file with one concept a line.

    Args:
        name: ``emotions``, ``expressions``, or a path that ends in ``.txt``.

    Raises:
        UserError: no such set, an empty set or line, or a concept that stands twice.

    >>> concept_set("emotions")
    ('angry', 'disgust', 'fear', 'happy', 'sad', 'surprise', 'neutral')
    """
    path = Path(name) if name.endswith(".txt") else FOLDER / f"{name}.txt"
    if not path.is_file():
        raise unknown_name("concept set", name, [*built_in_sets(), "or the path of a .txt file"])
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"concept set {path}: expected UTF-8 text") from None
    first_line: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        concept = " ".join(line.lower().split())
        if not concept:
            raise UserError(f"concept set {path}, line {number}: empty concept; expected one concept a line")
        if concept in first_line:
            raise UserError(
                f"concept set {path}, line {number}: {concept!r} stands already in line {first_line[concept]}"
            )
        first_line[concept] = number
    if not first_line:
        raise UserError(f"concept set {path}: no concept in it; expected one a line")
    return tuple(first_line)


def set_label(name: str) -> str:
    """The short name of a concept set, as tables show it: the file's stem."""
    return Path(name).stem


@cache
def concept_classes() -> dict[str, tuple[str, ...]]:
    """The classes each known concept speaks for; a class name speaks for itself.

    >>> concept_classes()["closed eyes"]
    ('sad', 'neutral', 'fear')
    """
    with open(FOLDER / "concept_classes.csv", newline="", encoding="utf-8") as file:
        known = {row["concept"]: tuple(row["classes"].split("|")) for row in csv.DictReader(file)}
    return {**known, **{name: (name,) for name in CLASSES}}
