"""What the test set of a benchmark will be able to see, told before the run."""

from pathlib import Path

import numpy as np
import pandas as pd

from emobench.edits.power import POWER, foresight, planned_family
from emobench.errors import UserError
from emobench.faces.card import read_card
from emobench.faces.raw import RawImages
from emobench.faces.splitting import FOLDS
from emobench.layout import Layout
from emobench.params import Params
from emobench.vocabulary import SPLITS


def power_in_words(params: Params, raw: RawImages, root: Path) -> list[str]:
    """Sentences on the smallest gain that the tests can find, by the share of answers that an edit changes."""
    images, tested = expected_images(params, raw, root), planned_family(params.edit)
    if not tested:
        return []
    if images is None:
        return ["power: these images are counted by the stage prepare only; validate tells after it what test can see"]
    table = foresight(images, tested)
    seen = table[table["detectable"].notna()]
    said = [f"power: about {images:,} test images, {tested} edits to judge; found in {POWER:.0%} of cases is at least"]
    said += [
        f"power: a gain of {row.detectable_points:.2f} points ({row.detectable:.0f} images), where an edit turns "
        f"{row.changed} answers ({row.share:.1%}) right or wrong"
        for row in seen.itertuples()
    ]
    said += _folds_in_words(params, raw, root, table)
    blind = table.loc[table["detectable"].isna(), "changed"]
    if len(blind):
        said.append(f"power: no gain at all, where it turns only {blind.max()} answers right or wrong")
    return said


def _folds_in_words(params: Params, raw: RawImages, root: Path, table: pd.DataFrame) -> list[str]:
    """What judging val and test together, by one test, would see beyond test alone; nothing where that is no more."""
    val, test = (expected_images(params, raw, root, split) for split in ("val", "test"))
    both = (val or 0) + (test or 0)
    beside = table.merge(foresight(both, 1), on="share", suffixes=("", "_both"))
    more = beside[beside["detectable_points_both"] < beside["detectable_points"].fillna(np.inf)]
    if more.empty:
        return []
    row, folds = more.iloc[0], params.compare.cross_fitting.folds
    verb, how = ("sees", f"{folds} folds") if folds > 1 else ("would see", "set compare.cross_fitting.folds: 5")
    alone = f"{row['detectable_points']:.2f}" if row["detectable"] == row["detectable"] else "none"
    return [
        f"power: protocol cross_fitted ({how}), one test of a choice on {both:,} val and test images, {verb} a gain of "
        f"{row['detectable_points_both']:.2f} points where {row['share']:.1%} of the answers turn (on test: {alone})"
    ]


def check_probe(params: Params, raw: RawImages, root: Path) -> None:
    """Whether the probe can have as many images as are taken of each unit.

    Raises:
        UserError: it will have fewer.
    """
    dissect = params.dissect
    images = expected_images(params, raw, root, "train" if dissect.probe == "train_unique" else dissect.probe)
    asked = {f"{name}.top_k": getattr(getattr(dissect, name, None), "top_k", 0) for name in dissect.similarity_fns}
    for key, count in ({"top_images": dissect.top_images} | asked).items():
        if images is not None and count > images:
            raise UserError(
                f"params: dissect.{key} is {count}; the probe ({dissect.probe}) has {images} images at most"
            )


def expected_images(params: Params, raw: RawImages, root: Path, split: str = "test") -> int | None:
    """How many images of a split there will be, before the audit takes some away; None where that is not known yet.

    Args:
        params: source and limit of the images.
        raw: what was read of them. Its counts say which splits are given; the others are made as by ``with_splits``.
        root: the repository, whose images as last prepared tell where the source wasn't counted.
        split: train, val or test.
    """
    folder = Layout(params.name, root).data
    if params.data.source == "synthetic":
        counts = {name: getattr(params.data.synthetic, name) for name in SPLITS}
    elif raw.counts:
        counts = raw.counts
    else:
        return read_card(folder).counts.get(split, 0) if (folder / "dataset.json").is_file() else None
    total, missing = sum(counts.values()), [name for name in SPLITS if name not in counts]
    if split in counts and (not missing or split == "train"):
        expected = counts[split]
    elif split == "train":
        expected = total - 2 * (total // FOLDS)
    else:
        halved = len(missing) == 1 and "train" in counts
        expected = (total - counts["train"]) // 2 if halved else total // FOLDS
    return round(expected * min(1.0, params.data.limit / total)) if params.data.limit else expected
