"""Class names as users and data sets write them, brought to one spelling and into one order.

Names join data and networks, never numbers: a number stands for a class only where an order of classes is stated.
"""

import csv
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from emobench.errors import UserError, unknown_name
from emobench.vocabulary import FOLDER
from emobench.vocabulary.reading import words

BASIC = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's classes in its order (Ekman's six and neutral), which other sets of faces share."""
MAX_CLASSES = 256
"""Predictions are stored as bytes."""
_WHOLE = re.compile(r"\d{1,6}(\.0*)?")


class UnnamedClasses(UserError):
    """The labels are numbers, and no order of classes is stated."""


@dataclass(frozen=True)
class ClassNames:
    """What the labels of a data set mean.

    Attributes:
        classes: names in label order.
        place: label as written -> its place in ``classes``.
        said: sentences on what was assumed.
    """

    classes: tuple[str, ...]
    place: dict[str, int]
    said: tuple[str, ...]


@cache
def synonyms() -> dict[str, str]:
    """Other words for the classes that every facial-expression data set shares.

    >>> synonyms()["happiness"]
    'happy'
    """
    with open(FOLDER / "synonyms.csv", newline="", encoding="utf-8") as file:
        return {word: row["class"] for row in csv.DictReader(file) for word in row["synonyms"].split("|")}


def canonical_class(name: str) -> str:
    """A class name in small letters, with single spaces and composed accents, and by its known word.

    >>> canonical_class("Happiness"), canonical_class("slightly_bored")
    ('happy', 'slightly bored')
    """
    word = words(re.sub(r"[\s_-]+", " ", name))
    return synonyms().get(word, word)


def canonical_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names in the order that labels get where none is stated: the seven, contempt, then others by alphabet.

    >>> canonical_order(["bored", "contempt", "sad", "happy"])
    ('happy', 'sad', 'contempt', 'bored')
    """
    known = (*BASIC, "contempt")
    return tuple(sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name)))


def whole_number(text: str) -> int | None:
    """The number of a label like ``3`` or, as tables with gaps write it, ``3.0``; None for anything else."""
    return int(float(text)) if _WHOLE.fullmatch(text.strip()) else None


def class_names(found: Collection[str], stated: Sequence[str], where: str) -> ClassNames:
    """Makes classes out of the labels that a data set's files hold.

    Args:
        found: labels as written, each at least once.
        stated: the user's order of classes; empty: found names in :func:`canonical_order`.
        where: the data set, for messages.

    Raises:
        UserError: numbers without a stated order or out of its range, a class that is not among the stated ones, one
            stated twice, or too few or too many classes.
    """
    order = stated_classes(stated)
    numbers = {label: whole_number(label) for label in found}
    if found and None not in numbers.values():
        return _by_number(numbers, order, where)
    names = {label: canonical_class(label) for label in found}
    unknown = sorted(set(names.values()) - set(order)) if order else []
    if unknown:
        raise unknown_name(f"class in {where}:", unknown[0], order)
    classes = order or canonical_order(names.values())
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise UserError(f"{where}: has {len(classes)} classes ({', '.join(classes[:4])}); expected 2 to {MAX_CLASSES}")
    place = {label: classes.index(name) for label, name in names.items()}
    renamed = sorted({(label.lower(), name) for label, name in names.items() if label.strip().lower() in synonyms()})
    said = f"classes by synonym: {', '.join(f'{old} is {new}' for old, new in renamed)}"
    return ClassNames(classes, place, (said,) if renamed else ())


def stated_classes(stated: Sequence[str]) -> tuple[str, ...]:
    """The stated order in known words. Raises UserError for a class that stands twice, or only one."""
    order = tuple(map(canonical_class, stated))
    twice = next((name for name in order if order.count(name) > 1), None)
    if twice is not None or len(order) == 1 or "" in order:
        what = f"names {twice!r} twice" if twice else f"is {list(stated)}"
        raise UserError(f"params: data.classes {what}; expected at least two names, each once, or none to find them")
    return order


def _by_number(numbers: dict[str, int | None], order: tuple[str, ...], where: str) -> ClassNames:
    """Numbers count from 0 or from 1: from 0 if a 0 occurs, from 1 if the number of classes does."""
    values = {number for number in numbers.values() if number is not None}
    low, high = min(values), max(values)
    if not order:
        raise UnnamedClasses(
            f"{where}: the classes are numbers ({low} to {high}); state their names in order as params data.classes"
        )
    first = 0 if low == 0 else 1
    if high >= len(order) + first:
        raise UserError(
            f"{where}: has class number {high}; expected {first} to {len(order) + first - 1}, one for each of the "
            f"{len(order)} names in params data.classes"
        )
    if low > 0 and high < len(order):
        raise UserError(
            f"{where}: class numbers run from {low} to {high}, so that it stays open whether they count from 0 or 1; "
            f"expected {len(order)} classes as in params data.classes"
        )
    place = {label: number - first for label, number in numbers.items() if number is not None}
    said = f"class numbers count from {first}: {', '.join(f'{k + first} is {name}' for k, name in enumerate(order))}"
    return ClassNames(order, place, (said,))
