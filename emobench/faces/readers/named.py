"""Data sets whose file names or own list say the class: RAF-DB, JAFFE and KDEF, as their owners give them out."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from emobench.errors import UserError
from emobench.faces.raw import RawImages
from emobench.faces.readers.archives import Member, content, opened
from emobench.faces.readers.entries import Entry, Wanted, gather, pictures_of, strangers

RAFDB_LISTS = ("list_patition_label.txt", "list_partition_label.txt")
RAFDB_CLASSES = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
"""RAF-DB counts from 1 in this order."""
JAFFE_NAME = re.compile(r"(?P<subject>[A-Z]{2})[.-](?P<code>AN|DI|FE|HA|NE|SA|SU)\d*[.-]")
KDEF_NAME = re.compile(r"[AB](?P<subject>[FM]\d\d)(?P<code>AF|AN|DI|HA|NE|SA|SU)(FL|FR|HL|HR|S)\.")
CODES = {
    "AF": "fear", "AN": "angry", "DI": "disgust", "FE": "fear", "HA": "happy", "NE": "neutral", "SA": "sad",
    "SU": "surprise",
}  # fmt: skip
MAX_LIST_BYTES = 1 << 24


def read_rafdb(path: Path, wanted: Wanted) -> RawImages:
    """Reads RAF-DB's basic set: pictures and the list of their split and class.

    Args:
        path: folder or zip that holds ``list_patition_label.txt`` (so spelled by its owners) and the pictures; of
            aligned and original ones the aligned are taken.
        wanted: size, channels, stated order of the seven classes.

    Raises:
        UserError: no list, a line that is none, a picture that is missing or stands twice.
    """
    with opened(path) as members:
        lists = [member for member in members if PurePosixPath(member.name).name.lower() in RAFDB_LISTS]
        if len(lists) != 1:
            raise UserError(f"{path}: {len(lists)} files named {RAFDB_LISTS[0]}; expected one, RAF-DB's list of labels")
        pictures, said = pictures_of([member for member in members if member not in lists])
        aligned = [member for member in pictures if PurePosixPath(member.name).stem.endswith("_aligned")]
        if aligned and len(aligned) < len(pictures):
            said.append(f"the {len(aligned)} aligned pictures are taken, {len(pictures) - len(aligned)} others are not")
        by_name: dict[str, Member] = {}
        for member in aligned or pictures:
            name = PurePosixPath(member.name).stem.removesuffix("_aligned")
            if name in by_name:
                raise UserError(f"{path}: {name} stands there twice ({by_name[name].name}, {member.name})")
            by_name[name] = member
        text = content(lists[0].name, lists[0], MAX_LIST_BYTES).decode("utf-8-sig", errors="replace")
        where = f"{path}: {lists[0].name}"
        lines = [line.split() for line in text.splitlines() if line.strip()]
        entries = [_rafdb_entry(f"{where}, line {k}", line, by_name) for k, line in enumerate(lines, start=1)]
        return gather(str(path), entries, wanted, said)


def _rafdb_entry(where: str, cells: list[str], pictures: Mapping) -> Entry:
    """One line of the list: ``train_00001.jpg 5``."""
    match = re.fullmatch(r"((train|test)_[^/\\]+)\.\w+ ([1-7])", " ".join(cells))
    if not match:
        raise UserError(f"{where}: {' '.join(cells)[:60]!r}; expected like 'train_00001.jpg 5', classes 1 to 7")
    stem, split, number = match.groups()
    if stem not in pictures:
        raise UserError(f"{where}: no picture {stem} in it; expected {stem}_aligned.jpg or {stem}.jpg")
    return Entry(pictures[stem].name, RAFDB_CLASSES[int(number) - 1], split, pictures[stem])


def read_jaffe(path: Path, wanted: Wanted) -> RawImages:
    """Reads JAFFE: ``KA.AN1.39.tiff`` is subject KA, angry."""
    return _read_named(path, wanted, JAFFE_NAME, "KA.AN1.39.tiff")


def read_kdef(path: Path, wanted: Wanted) -> RawImages:
    """Reads KDEF: ``AF01ANS.JPG`` is session A, subject F01, angry, seen straight; all angles are taken."""
    return _read_named(path, wanted, KDEF_NAME, "AF01ANS.JPG")


def _read_named(path: Path, wanted: Wanted, pattern: re.Pattern, example: str) -> RawImages:
    """Reads pictures whose names say class and subject; other names are skipped and said."""
    with opened(path) as members:
        pictures, said = pictures_of(members)
        matches = [(member, pattern.match(PurePosixPath(member.name).name.upper())) for member in pictures]
        entries = [
            Entry(member.name, CODES[match["code"]], "", member, match["subject"]) for member, match in matches if match
        ]
        if not entries:
            raise UserError(f"{path}: no picture is named like {example}; expected names that say class and subject")
        nameless = [member.name for member, match in matches if not match]
        said += [f"names that say no class: {line}" for line in strangers(nameless)]
        return gather(str(path), entries, wanted, said)
