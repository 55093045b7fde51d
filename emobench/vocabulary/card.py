"""The card of a benchmark's vocabulary: its concept sets, and which of the data's classes each concept speaks for.

``data/<name>/vocabulary.json`` is written once, by the stage prepare, and read by all that name concepts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emobench.errors import unknown_name
from emobench.files import file_digest, write_sealed
from emobench.stored import read_json, unusable
from emobench.vocabulary import EMOTIONS, concept_classes, is_file, read_concepts, set_label
from emobench.vocabulary.class_names import canonical_class

FILE = "vocabulary.json"


@dataclass(frozen=True)
class _Set:
    name: str
    sha256: str | None
    concepts: dict[str, list[str]]


@dataclass(frozen=True)
class _Card:
    classes: list[str]
    sets: list[_Set]


@dataclass(frozen=True)
class Vocabulary:
    """Concept sets by their short names, in the order of params: concept -> its classes (there may be none)."""

    classes: tuple[str, ...]
    sets: dict[str, dict[str, tuple[str, ...]]]

    def concepts(self, label: str) -> tuple[str, ...]:
        """The concepts of a set.

        Raises:
            UserError: no such set.
        """
        if label not in self.sets:
            raise unknown_name("concept set", label, self.sets)
        return tuple(self.sets[label])

    def speaks(self, label: str) -> dict[str, tuple[str, ...]]:
        """The classes that each concept of a set speaks for."""
        self.concepts(label)
        return self.sets[label]

    @property
    def every(self) -> dict[str, tuple[str, ...]]:
        """All concepts of all sets; one that stands in several has the classes of the first."""
        found: dict[str, tuple[str, ...]] = {}
        for concepts in self.sets.values():
            for concept, classes in concepts.items():
                found.setdefault(concept, classes)
        return found


def vocabulary_of(names: Sequence[str], classes: Sequence[str], root: Path = Path()) -> Vocabulary:
    """Reads the concept sets that params name.

    A file's own classes must be the data's. The built-in map is cut to them, and so is what a text file leaves open.

    Args:
        names: built-in sets and files.
        classes: of the data, in order.
        root: what the files' paths are relative to.

    Raises:
        UserError: a set that can't be read, or a class in the user's map that the data lack.
    """
    sets = {}
    for name in names:
        found = dict.fromkeys(classes) if name == EMOTIONS else read_concepts(name, root)
        sets[set_label(name)] = {concept: _classes(name, concept, given, classes) for concept, given in found.items()}
    return Vocabulary(tuple(classes), sets)


def _classes(name: str, concept: str, given: Sequence[str] | None, classes: Sequence[str]) -> tuple[str, ...]:
    """A concept's classes, of those that the data have; a known synonym is its class."""
    if given is None:
        own = next((word for word in (concept, canonical_class(concept)) if word in classes), None)
        return (own,) if own else tuple(word for word in concept_classes().get(concept, ()) if word in classes)
    found = [word if word in classes else canonical_class(word) for word in given]
    for known, word in zip(found, given, strict=True):
        if known not in classes:
            raise unknown_name(f"class in {name}, concept {concept!r}:", word, classes)
    return tuple(dict.fromkeys(found))


def check_concepts(names: Sequence[str], classes: Sequence[str], root: Path = Path()) -> None:
    """Reads the concept sets before a picture is touched, and checks their classes if those of the data are known.

    Args:
        names: built-in sets and files.
        classes: of the data, as far as params say; none if only the pictures tell.
        root: what the files' paths are relative to.

    Raises:
        UserError: as :func:`vocabulary_of`.
    """
    if classes:
        vocabulary_of(names, classes, root)
    else:
        for name in names:
            read_concepts(name, root)


def save_vocabulary(folder: Path, vocabulary: Vocabulary, names: Sequence[str], root: Path = Path()) -> None:
    """Writes the card into the folder of the data, with the digest of each file that was read."""
    files = {set_label(name): file_digest(root / name) for name in names if is_file(name)}
    sets = [
        {"name": label, "sha256": files.get(label), "concepts": {name: list(to) for name, to in concepts.items()}}
        for label, concepts in vocabulary.sets.items()
    ]
    write_sealed(folder / FILE, {"classes": list(vocabulary.classes), "sets": sets})


def load_vocabulary(folder: Path) -> Vocabulary:
    """Reads the card.

    Raises:
        UserError: it is missing, or not of this form.
    """
    path = folder / FILE
    card = read_json(path, "prepare", _Card, "is not a vocabulary")
    sets = {one.name: {name: tuple(to) for name, to in one.concepts.items()} for one in card.sets}
    named = {name for concepts in sets.values() for to in concepts.values() for name in to}
    if len(sets) != len(card.sets) or not sets or not named <= set(card.classes):
        raise unusable(
            path,
            "a set stands twice, or a concept speaks for a class that is not there",
            "prepare",
            "is not a vocabulary",
        )
    return Vocabulary(tuple(card.classes), sets)
