"""From a list of picture files with labels to images: what all readers of pictures share."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emobench.errors import UserError
from emobench.faces.raw import RawImages
from emobench.faces.readers.archives import Member
from emobench.faces.readers.pictures import SUFFIXES, Box, decode
from emobench.progress import progress
from emobench.vocabulary import SPLITS
from emobench.vocabulary.class_names import class_names

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "publictest"), "val"),
    **dict.fromkeys(("test", "testing", "privatetest"), "test"),
}
"""What folders and columns call the splits, in small letters."""


@dataclass(frozen=True)
class Wanted:
    """What is made of a source.

    Attributes:
        size: side of the stored pictures, in pixels.
        channels: 1 for grey, 3 for RGB.
        classes: the stated order of classes; empty: found.
        labels: ``file``, or ``ferplus`` for the votes beside FER2013.
        look: only as much is read as tells whether the whole can be: all names, and one picture a class.
        sample: with ``look``, so many val pictures too (or of those in no split), chosen by their names' hashes.
    """

    size: int = 48
    channels: int = 1
    classes: tuple[str, ...] = ()
    labels: str = "file"
    look: bool = False
    sample: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one stored picture."""
        return (self.size, self.size) if self.channels == 1 else (self.size, self.size, self.channels)


@dataclass(frozen=True)
class Entry:
    """A labelled picture file: label as written, split and subject empty where not given."""

    image_id: str
    label: str
    split: str
    member: Member
    subject: str = ""
    box: Box | None = None


def pictures_of(members: Sequence[Member]) -> tuple[list[Member], list[str]]:
    """The picture files, and a sentence on the others if there are any."""
    pictures = [member for member in members if member.name.lower().endswith(SUFFIXES)]
    others = [member.name for member in members if not member.name.lower().endswith(SUFFIXES)]
    return pictures, strangers(others)


def strangers(names: Sequence[str]) -> list[str]:
    """A sentence on files that were skipped; none if there are none."""
    return [f"{len(names)} other files skipped ({', '.join(sorted(names)[:3])})"] if names else []


def gather(where: str, entries: Sequence[Entry], wanted: Wanted, said: Sequence[str] = ()) -> RawImages:
    """Reads the pictures of the entries, ordered by split and name.

    Args:
        where: the data set, for messages.
        entries: at least one.
        wanted: size, channels, classes.
        said: what the reader has to say already.

    Raises:
        UserError: no entry, two of one name, a split for some only, unknown classes, or a picture that can't be read.
    """
    if not entries:
        raise UserError(f"{where}: no picture in it; expected files that end in {', '.join(SUFFIXES)}")
    rank = {name: place for place, name in enumerate((*SPLITS, ""))}
    entries = sorted(entries, key=lambda entry: (rank[entry.split], entry.image_id))
    twice = [name for name, count in Counter(entry.image_id for entry in entries).items() if count > 1]
    if twice:
        raise UserError(f"{where}: {twice[0]} stands there twice; expected each file once")
    # Sorted: what is in no split comes last.
    if entries[0].split and not entries[-1].split:
        raise UserError(f"{where}: {entries[-1].image_id} is in no split, others are; expected a split for all or none")
    names, counts = class_names({entry.label for entry in entries}, wanted.classes, where), None
    if wanted.look:
        counts = dict(Counter(entry.split for entry in entries))
        said = [*said, f"{len(entries)} pictures of {len(names.place)} classes in {where}"]
        entries = _some(entries, wanted.sample)
    images, remarks = _pixels(where, entries, wanted)
    return RawImages(
        images,
        [entry.image_id for entry in entries],
        np.array([names.place[entry.label] for entry in entries], np.int64),
        [entry.split for entry in entries],
        names.classes,
        [entry.subject for entry in entries] if any(entry.subject for entry in entries) else None,
        (*said, *names.said, *remarks),
        counts,
    )


def _some(entries: Sequence[Entry], sample: int) -> list[Entry]:
    """The first entry of each class, or as many as are wanted of val; without a val, of what is in no split or in test.

    By the hash of their names, so that they are of all classes and subjects, and the same ones each time.
    """
    first = list({entry.label: entry for entry in reversed(entries)}.values())
    splits = {entry.split for entry in entries}
    split = next((name for name in ("val", "", "test", "train") if name in splits), "")
    of_split = [entry for entry in entries if entry.split == split and entry not in first]
    ranked = sorted(of_split, key=lambda entry: hashlib.sha256(entry.image_id.encode()).digest())
    return [*first, *ranked[:sample]]


def _pixels(where: str, entries: Sequence[Entry], wanted: Wanted) -> tuple[np.ndarray, list[str]]:
    """The stored pictures (n, *shape), and sentences on those that were cut or enlarged."""
    images = np.empty((len(entries), *wanted.shape), np.uint8)
    cut = enlarged = 0
    for row, entry in enumerate(progress(entries, desc="reading images", unit="image")):
        picture = decode(f"{where}: {entry.image_id}", entry.member, wanted.size, wanted.channels, entry.box)
        images[row] = picture.pixels
        cut, enlarged = cut + picture.cut, enlarged + picture.enlarged
    said = [f"{cut} of {len(entries)} pictures are not square: the square in their middle is taken"] * bool(cut)
    side = f"{wanted.size}x{wanted.size}"
    return images, said + [f"{enlarged} of {len(entries)} pictures are smaller than {side}: enlarged"] * bool(enlarged)
