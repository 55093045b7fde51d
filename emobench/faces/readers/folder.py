"""Pictures in class folders, ``split/class/file`` or ``class/file``, as a folder or a zip."""

from collections.abc import Sequence
from pathlib import Path

from emobench.errors import UserError
from emobench.faces.raw import RawImages
from emobench.faces.readers.archives import Member, opened, without_common_folders
from emobench.faces.readers.entries import SPLIT_NAMES, Entry, Wanted, gather, pictures_of

FORMS = "expected split/class/file (splits: train, val, test) or class/file"


def read_folder(path: Path, wanted: Wanted) -> RawImages:
    """Reads pictures whose folder names their class, and the folder above, if there is one, their split.

    Args:
        path: a folder or a zip. A folder around everything is allowed; hidden files, ``__MACOSX`` and ``Thumbs.db``
            are ignored, files that are no pictures are skipped and counted.
        wanted: size and channels of the stored pictures, and the stated classes.

    Raises:
        UserError: no pictures, a picture outside a class folder, splits for some pictures only, or as in
            :func:`emobench.faces.readers.entries.gather`.
    """
    with opened(path) as members:
        entries, said = folder_entries(str(path), members)
        return gather(str(path), entries, wanted, said)


def folder_entries(where: str, members: Sequence[Member]) -> tuple[list[Entry], list[str]]:
    """The pictures in class folders, and a sentence on other files."""
    pictures, said = pictures_of(members)
    names = without_common_folders([member.name for member in pictures], SPLIT_NAMES)
    return [_entry(where, name, member) for name, member in zip(names, pictures, strict=True)], said


def _entry(where: str, name: str, member: Member) -> Entry:
    """What a picture's path says."""
    parts = name.split("/")
    if len(parts) == 3 and parts[0].lower() in SPLIT_NAMES:
        return Entry(name, parts[1], SPLIT_NAMES[parts[0].lower()], member)
    if len(parts) == 2 and parts[0].lower() not in SPLIT_NAMES:
        return Entry(name, parts[0], "", member)
    raise UserError(f"{where}: unexpected picture {name}; {FORMS}")
