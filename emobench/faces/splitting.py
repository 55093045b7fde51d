"""Splits for images whose source gives none or only some: seeded, stratified, by subject, copies together."""

import warnings
from dataclasses import replace

import numpy as np

from emobench.errors import UserError
from emobench.faces.copies import exact_copies
from emobench.faces.raw import RawImages, check_classes, missing_classes
from emobench.functional.linking import linked_parts
from emobench.vocabulary import SPLITS

FOLDS = 10
"""Of a set without splits one tenth is val, one tenth is test."""


def with_splits(raw: RawImages, seed: int) -> RawImages:
    """Gives every image a split.

    Args:
        raw: images of which all have a split or none has. Without any, or with one only, they are split into train
            (eight tenths), val and test (one each); where val or test is missing, the other is halved.
        seed: decides which.

    Returns:
        The images ordered train, val, test, and what was done in ``said``. Images of one subject, and exact copies,
        are in one split; where the source gave all splits, nothing is moved.

    Raises:
        UserError: too few subjects, or a class without a train image.
    """
    given = set(raw.splits)
    splits, said = list(raw.splits), []
    missing = [split for split in SPLITS if split not in given]
    if len(missing) == 1 and "train" in given:
        (other,) = given - {"train"}
        rows = np.flatnonzero(np.array(raw.splits) == other)
        folds = _folds(raw.take(rows), 2, seed)
        for row, fold in zip(rows, folds, strict=True):
            splits[row] = "val" if fold == 0 else "test"
        said = [f"the source has no split {missing[0]}: its {other} is halved into val and test, {_how(raw, seed)}"]
    elif missing:
        folds = _folds(raw, FOLDS, seed)
        splits = ["val" if fold == 0 else "test" if fold == 1 else "train" for fold in folds]
        what = f"only the split {', '.join(sorted(given))}" if given != {""} else "no splits"
        said = [f"the source gives {what}: 80 % train, 10 % val and 10 % test, {_how(raw, seed)}"]
    order = np.array(sorted(range(len(splits)), key=lambda row: (SPLITS.index(splits[row]), row)))
    done = replace(raw, splits=splits)
    done = done.take(order) if (np.diff(order) != 1).any() else done
    check_classes("the images", done, ("train",))
    return done.saying(*said, *_remarks(done, assigned=bool(missing)))


def _how(raw: RawImages, seed: int) -> str:
    together = "subjects and exact copies" if raw.groups else "exact copies"
    return f"stratified by class, {together} together, seed {seed}"


def _remarks(raw: RawImages, *, assigned: bool) -> list[str]:
    """Warnings: unknown subjects, subjects in several splits, classes that a split lacks."""
    said = []
    if assigned and not raw.groups:
        said.append("warning: subjects are unknown, so that one person may be in train and test")
    if raw.groups:
        seen: dict[str, set[str]] = {}
        for group, split in zip(raw.groups, raw.splits, strict=True):
            seen.setdefault(group, set()).add(split)
        seen.pop("", None)
        several = sum(len(splits) > 1 for splits in seen.values())
        said += [f"warning: {several} of {len(seen)} subjects are in more than one split"] * bool(several)
        nameless = raw.groups.count("")
        said += [f"warning: the subject of {nameless} images is unknown"] * bool(nameless)
    lacking = [f"{split} lacks {', '.join(names)}" for split, names in missing_classes(raw).items() if names]
    return [*said, *(f"warning: {line}" for line in lacking)]


def _folds(raw: RawImages, count: int, seed: int) -> np.ndarray:
    """Deals subjects and sets of copies out to folds of equal size and class shares: int64 (n,)."""
    from sklearn.model_selection import StratifiedGroupKFold

    together = _together(raw)
    parts = len(np.unique(together))
    # Few subjects or images: fewer and larger folds, so that each split still has some of its own.
    folds = min(count, parts, int(np.bincount(raw.labels).max()))
    least = 3 if count == FOLDS else 2
    if folds < least:
        raise UserError(f"too few images or subjects to split: {folds}; expected at least {least} of some class")
    fold_of = np.empty(len(together), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        dealt = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for fold, (_, rows) in enumerate(dealt.split(np.empty((len(together), 1)), raw.labels, together)):
            fold_of[rows] = fold
    return fold_of


def _together(raw: RawImages) -> np.ndarray:
    """Number of the part that each image belongs to: of one subject, or copies, or linked by both (n,)."""
    links = [exact_copies(raw.images)]
    if raw.groups:
        first: dict[str, int] = {}
        links.append(np.array([first.setdefault(name, k) if name else k for k, name in enumerate(raw.groups)]))
    return linked_parts(*links)
