"""FER2013 in each of its forms: picture folders, the official csv, Kaggle's challenge files, and FER+ votes beside it.

Labels go by name. Folders in alphabetical order would put neutral before sad; the numbers of all csv files have the
order of emobench.vocabulary.class_names.BASIC, and the eighth class of tables in the same form (CK+) is contempt.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from emobench.errors import UserError
from emobench.faces.raw import RawImages, check_classes
from emobench.faces.readers.archives import Member, opened
from emobench.faces.readers.entries import Entry, Wanted, gather, strangers
from emobench.faces.readers.ferplus import VOTES_FILE, read_ferplus
from emobench.faces.readers.folder import folder_entries
from emobench.faces.readers.pixels import SPLIT_OF_USAGE, read_pixels

USAGES_OF_FOLDER = {"train": ("Training",), "test": ("PublicTest", "PrivateTest")}
MAIN_TABLES = ("fer2013.csv", "icml_face_data.csv", "train.csv")
"""Which csv is read where there are several: the official one, the challenge's copy of it, the challenge's own."""
OFFICIAL = Wanted()


def read_fer2013(path: Path, wanted: Wanted = OFFICIAL) -> RawImages:
    """Reads FER2013 or what has its form.

    Args:
        path: a zip or a folder with pictures in ``train/<class>/`` and ``test/<class>/``, or with one of the csv files
            MAIN_TABLES; or such a csv.
        wanted: size and channels of the stored pictures; ``labels: ferplus`` takes the votes in ``fer2013new.csv``.

    Returns:
        The images in the order train, val, test, and by image_id within a split. File names that begin with a usage
        (PublicTest_, PrivateTest_) give the split; without, test pictures have the split ``test`` and val is empty.

    Raises:
        UserError: the archive is missing, none of these forms, truncated, locked by a password or has an entry that
            points outside; a name, picture, csv cell or class is not what the form says.
    """
    with opened(path) as members:
        tables = {PurePosixPath(member.name).name.lower(): member for member in members if _is_csv(member)}
        if wanted.labels == "ferplus":
            raw = read_ferplus(str(path), tables, wanted)
        elif tables:
            raw = _read_tables(str(path), tables, members, wanted)
        else:
            raw = _read_pictures(str(path), members, wanted)
    if not wanted.look and wanted.labels != "ferplus":
        check_classes(str(path), raw, tuple(split for split in ("train", "val", "test") if split in raw.splits))
    return raw


def _is_csv(member: Member) -> bool:
    return member.name.lower().endswith(".csv")


def _read_tables(where: str, tables: dict[str, Member], members: Sequence[Member], wanted: Wanted) -> RawImages:
    """Reads the one csv file that counts, and says which were left out."""
    name = next((name for name in (*MAIN_TABLES, *(tables if len(tables) == 1 else ())) if name in tables), None)
    if name is None:
        names = ", ".join(member.name for member in list(tables.values())[:4])
        raise UserError(f"{where} holds several csv files ({names}); expected one, or one named fer2013.csv")
    others = [other for other in sorted(tables) if other != name]
    said = [f"{name} is read; {', '.join(others)} left out"] * bool(others)
    if VOTES_FILE in others:
        said.append(f"the FER+ votes in {VOTES_FILE} are not used; params data.labels: ferplus takes them")
    if name == "train.csv" and "test.csv" in others:
        said = ["train.csv is read; test.csv has no labels and is left out"]
    said += strangers([member.name for member in members if not _is_csv(member)])
    raw = read_pixels(where if tables[name].name in where else f"{where}: {tables[name].name}", tables[name], wanted)
    return replace(raw, said=(*said, *raw.said))


def _read_pictures(where: str, members: Sequence[Member], wanted: Wanted) -> RawImages:
    """Reads the folder release, whose test pictures' file names say PublicTest or PrivateTest, or a re-upload's."""
    entries, said = folder_entries(where, members)
    named = any(re.match("(Training|PublicTest|PrivateTest)_", PurePosixPath(entry.image_id).name) for entry in entries)
    folders = {entry.image_id.split("/")[0].lower() for entry in entries}
    if named and folders <= set(USAGES_OF_FOLDER):
        entries = [_with_usage(where, entry) for entry in entries]
    return gather(where, entries, wanted, said)


def _with_usage(where: str, entry: Entry) -> Entry:
    """The entry with the split that its file name says."""
    folder, _, file = entry.image_id.split("/")
    usage, usages = file.split("_")[0], USAGES_OF_FOLDER[folder.lower()]
    if usage not in usages:
        expected = " or ".join(f"{known}_" for known in usages)
        raise UserError(
            f"{where}: {entry.image_id}: the file name gives no split; expected it to start with {expected}"
        )
    return replace(entry, split=SPLIT_OF_USAGE[usage])
