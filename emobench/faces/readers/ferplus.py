"""FER+: ten votes on each picture of FER2013, in a table beside it and in its order.

Barsoum et al. (2016), Training deep networks for facial expression recognition with crowd-sourced label distribution.
"""

import csv
import io
from dataclasses import replace

import numpy as np

from emobench.errors import UserError
from emobench.faces.raw import RawImages
from emobench.faces.readers.archives import Member, lines_of, zip_errors
from emobench.faces.readers.entries import Wanted
from emobench.faces.readers.pixels import images_of, separator_of, table_rows
from emobench.vocabulary.class_names import BASIC, canonical_class, canonical_order, stated_classes

PIXELS_FILE, VOTES_FILE = "fer2013.csv", "fer2013new.csv"
EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
OTHERS = ("unknown", "NF")
NAME = "Image name"


def read_ferplus(where: str, tables: dict[str, Member], wanted: Wanted) -> RawImages:
    """Reads FER2013's pixels with the emotion that has the majority of the FER+ votes as label; others are left out.

    Args:
        where: the archive, for messages.
        tables: its csv files by their name in small letters.
        wanted: size, channels, stated order of the eight classes.

    Raises:
        UserError: one of the two files is missing, or they don't fit together.
    """
    missing = [name for name in (PIXELS_FILE, VOTES_FILE) if name not in tables]
    if missing:
        raise UserError(f"{where}: lacks {missing[0]}; data.labels ferplus needs {PIXELS_FILE} and {VOTES_FILE}")
    rows = list(table_rows(f"{where}: {PIXELS_FILE}", tables[PIXELS_FILE], len(BASIC)))
    names, votes = _votes(f"{where}: {VOTES_FILE}", tables[VOTES_FILE])
    if len(rows) != len(names):
        raise UserError(f"{where}: {VOTES_FILE} has {len(names)} rows, {PIXELS_FILE} {len(rows)}; expected as many")
    emotions = tuple(map(canonical_class, EMOTIONS))
    order = stated_classes(wanted.classes) or canonical_order(emotions)
    if set(order) != set(emotions):
        raise UserError(f"params: data.classes is {list(order)}; the classes of FER+ are {', '.join(emotions)}")
    chosen = majority(votes)
    kept = [row for row, place in enumerate(chosen) if names[row] and 0 <= place < len(emotions)]
    labelled = [replace(rows[row], emotion=order.index(emotions[chosen[row]])) for row in kept]
    if not labelled:
        raise UserError(f"{where}: no picture whose FER+ votes have a majority for one emotion; expected at least one")
    named = chosen[[bool(name) for name in names]]
    open_, others = int((named < 0).sum()), int((named >= len(emotions)).sum())
    said = [
        f"labels: the emotion with more than half of the FER+ votes, single ones taken off; {len(kept)} of {len(rows)} "
        f"pictures kept, the others have no majority ({open_}), no name in FER+ ({len(rows) - len(named)}), or are "
        f"voted unknown or no face ({others})"
    ]
    return images_of(labelled, [f"csv/{row:06d}" for row in kept], order, wanted, said)


def majority(votes: np.ndarray) -> np.ndarray:
    """The choice that has the majority, by the rule of the code that was published with the paper (mode majority).

    A choice that one voter alone made counts as a slip and is taken off; of the votes left more than half must agree.
    "Unknown" and "no face" are choices like the emotions.

    Args:
        votes: int (pictures, choices).

    Returns:
        int64 (pictures,): a column, or -1 where no choice has the majority.

    >>> majority(np.array([[6, 3, 1, 0], [5, 5, 0, 0], [4, 3, 3, 0], [4, 2, 1, 1], [1, 1, 1, 1]])).tolist()
    [0, -1, -1, 0, -1]
    """
    counted = np.where(votes > 1, votes, 0)
    return np.where(2 * counted.max(axis=1) > counted.sum(axis=1), counted.argmax(axis=1), -1)


def _votes(where: str, member: Member) -> tuple[list[str], np.ndarray]:
    """Picture names, and votes int64 (pictures, emotions and others)."""
    with zip_errors(where), member.open() as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        try:
            lines = lines_of(where, text)
            header = next(lines, "")
            fields = next(csv.reader([header], delimiter=separator_of(header)), [])
            rows = list(csv.DictReader(lines, [field.strip() for field in fields], delimiter=separator_of(header)))
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{where}: not a csv text ({error}); expected UTF-8") from None
    missing = [name for name in (NAME, *EMOTIONS, *OTHERS) if name not in [field.strip() for field in fields]]
    if missing:
        raise UserError(f"{where}: lacks the column {missing[0]}; expected {', '.join((NAME, *EMOTIONS, *OTHERS))}")
    try:
        votes = [[int(row[name]) for name in (*EMOTIONS, *OTHERS)] for row in rows]
        table = np.array(votes, np.int64).reshape(-1, len(EMOTIONS + OTHERS))
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{where}: a vote is no whole number; expected counts of voters") from None
    return [(row[NAME] or "").strip() for row in rows], table
