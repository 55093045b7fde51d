"""What follows from the pictures at hand: the stored size, and numbers that a small set can't bear."""

import io
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from emobench.faces.raw import RawImages
from emobench.faces.readers.archives import opened
from emobench.faces.readers.entries import pictures_of
from emobench.faces.readers.pictures import FORMATS, MAX_BYTES
from emobench.inputs.network import picture_in_words
from emobench.networks.card import InputCard

LOOKED_AT = 50
SIDES = (16, 1024)
"""Which sides can be stored."""
TRAIN_SHARE = 0.8
"""Of a set without splits."""
SHARE_OF_PROBE = 10
"""The published numbers of top images are kept while they are at most a tenth of the probe."""


def fit_stored(section: Any, path: Path, taken: InputCard) -> str:
    """Sets the stored size and channels: what the network takes, but no more than the pictures have.

    Args:
        section: data, of params.yaml; changed.
        path: the pictures.
        taken: what the network takes.

    Returns:
        What was chosen, in words.
    """
    side = max(round(length / taken.crop) for length in taken.size)
    found, coloured = _pictures(path)
    channels = taken.channels if coloured else 1
    section |= {"size": min(max(min(side, found or side), SIDES[0]), SIDES[1]), "channels": channels}
    has = f"the pictures have about {found}" if found else "the sides of the pictures are unknown"
    stored = picture_in_words(channels, [section["size"]] * 2)
    return f"stored: {stored} (the network takes {side}, {has}); --size and --channels store otherwise"


def _pictures(path: Path) -> tuple[int | None, bool]:
    """The median of the shorter sides of some pictures (None without picture files), and whether any has colours."""
    sides, coloured = [], False
    with opened(path) as members:
        pictures, _ = pictures_of(members)
        for member in pictures[:: max(len(pictures) // LOOKED_AT, 1)]:
            if member.size > MAX_BYTES:
                continue
            with member.open() as file, Image.open(io.BytesIO(file.read()), formats=FORMATS) as image:
                sides.append(min(image.size))
                coloured |= image.mode not in ("1", "L", "LA", "I;16", "I;16B", "I;16L")
    return (int(median(sides)) if sides else None), coloured


def fit_numbers(section: Any, raw: RawImages) -> list[str]:
    """Lowers numbers of top images in section dissect to what a small probe can bear; says which."""
    if raw.counts is None:
        return []
    probe = raw.counts.get("train", 0) if {"val", "test"} & raw.counts.keys() else 0
    probe = probe or int(TRAIN_SHARE * sum(raw.counts.values()))
    changed = {}
    for name, place, key, least in (
        ("soft_wpmi.top_k", section["soft_wpmi"], "top_k", 3),
        ("wpmi.top_k", section["wpmi"], "top_k", 2),
        ("coherence_images", section, "coherence_images", 2),
    ):
        most = max(probe // SHARE_OF_PROBE, least)
        if place[key] > most:
            changed[name] = (place[key], most)
            place[key] = most
    return [
        f"dissect.{name} is {new} instead of {old}: about {probe} train pictures"
        for name, (old, new) in changed.items()
    ]


def splits_in_words(counts: Mapping[str, int] | None, seed: int) -> str:
    """Which splits the source gives, or how prepare will make them."""
    if counts is None:
        return "splits: as the table says"
    named = {name: count for name, count in counts.items() if name}
    how = f"classes in proportion, subjects and copies together, by seed {seed}"
    if {"train", "val", "test"} <= named.keys():
        return "splits: " + ", ".join(f"{named[name]} {name}" for name in ("train", "val", "test")) + ", as given"
    if "train" in named and len(named) == 2:
        other = next(name for name in named if name != "train")
        return f"splits: the {named[other]} of {other} are halved into val and test, {how}"
    return f"splits: none given, so 80 % train, 10 % val and 10 % test, {how}"
