"""Concept sets and which classes a concept speaks for: plain data, the reader of the user's own, and the card.

Concepts and classes are lower case. A concept set is a built-in name or a file: text with one concept a line, or csv
with the columns ``concept`` and ``classes`` (several parted by ``|``, none allowed). The built-in map is the seed
paper's. The set ``emotions`` is the classes of the data at hand; a class name as a concept stands for itself.
"""

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath

from emobench.errors import UserError, unknown_name
from emobench.vocabulary.reading import concepts_in

FOLDER = Path(__file__).parent
SPLITS = ("train", "val", "test")
EMOTIONS = "emotions"
"""The concept set that is the classes of the data."""
MARK = "corner mark"
"""The concept that drawn faces with a shortcut bear (see emobench.faces.synthetic.shortcut)."""
OWN_FOLDER = Path("concepts")
"""Where the user's files lie: DVC watches this folder, so that a changed text is seen."""
SUFFIXES = (".txt", ".csv")


def built_in_sets() -> tuple[str, ...]:
    """Names of the concept sets that ship with emobench."""
    return tuple(sorted({EMOTIONS, *(path.stem for path in FOLDER.glob("*.txt"))}))


def is_file(name: str) -> bool:
    """Whether a concept set is named by its file."""
    return name.lower().endswith(SUFFIXES)


def set_label(name: str) -> str:
    """The short name of a concept set, as tables show it: the file's stem."""
    return Path(name).stem if is_file(name) else name


def check_set_names(names: Sequence[str]) -> None:
    """Expects built-in names, or files in :data:`OWN_FOLDER`, which DVC watches; each label once.

    Raises:
        UserError: names the first that is neither, stands twice, or can't be a label.
    """
    labels = [set_label(name) for name in names]
    if not names or len(set(labels)) < len(labels):
        raise UserError(
            f"params: concept_sets is {list(names)}; expected at least one, each once (files by their stem)"
        )
    for name, label in zip(names, labels, strict=True):
        if not is_file(name):
            if name not in built_in_sets():
                known = [*built_in_sets(), f"or a .txt or .csv file in {OWN_FOLDER}/"]
                raise UserError(f"params: concept_sets: {unknown_name('concept set', name, known)}")
            continue
        path = PurePosixPath(name)
        if path.parts[0] != OWN_FOLDER.name or ".." in path.parts or len(path.parts) < 2:
            raise UserError(
                f"params: concept_sets has the file {name}; expected one in {OWN_FOLDER}/, which is watched"
            )
        # Arrays are stored under the label, and others beside it under names that end like this.
        if label.endswith(("_names", "_digest")):
            raise UserError(f"params: concept_sets has {name}; expected a name that ends neither in _names nor _digest")


def concept_set(name: str) -> tuple[str, ...]:
    """The concepts of a built-in set or of a file (``emotions`` has none before the data are known).

    Raises:
        UserError: no such set, or one that can't be read.

    >>> len(concept_set("expressions"))
    25
    """
    return tuple(read_concepts(name))


def read_concepts(name: str, root: Path = Path()) -> dict[str, tuple[str, ...] | None]:
    """Reads a concept set: each concept's classes as the file has them; None where it doesn't say.

    Args:
        name: a built-in set's, or the path of a ``.txt`` or ``.csv`` file.
        root: what the path is relative to.

    Raises:
        UserError: no such set; a file that is not UTF-8 text; a concept that is empty or stands twice; none at all.
    """
    path = root / name if is_file(name) else FOLDER / f"{name}.txt"
    if name == EMOTIONS:
        return {}
    if not path.is_file():
        raise unknown_name("concept set", name, [*built_in_sets(), "or the path of a .txt or .csv file"])
    return concepts_in(path)


@cache
def concept_classes() -> dict[str, tuple[str, ...]]:
    """The seed paper's map: the classes each of the 25 expressions speaks for.

    >>> concept_classes()["closed eyes"]
    ('sad', 'neutral', 'fear')
    """
    with open(FOLDER / "concept_classes.csv", newline="", encoding="utf-8") as file:
        return {row["concept"]: tuple(row["classes"].split("|")) for row in csv.DictReader(file)}
