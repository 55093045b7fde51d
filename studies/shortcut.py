"""A shortcut that is known: are the units that see it found, does removing them help, and do the arms find that?

Run in the repository's root after `emobench use shortcut` and `dvc repro compare`: `python studies/shortcut.py`. Of the
stages it needs those up to dissect; what the arms found is told where compare has run. In the edited layer a unit truly
sees the mark if its activation tells marked test faces from others, where the mark goes with no class. Results are kept
in reports/planted/shortcut/.
"""

from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

from emobench.edits.measuring import Bench
from emobench.edits.planted import Ground, ground_of, target_of
from emobench.edits.target import Target
from emobench.faces.imageset import ImageSet, load_imageset
from emobench.files import write_csv
from emobench.functional.paired import mcnemar
from emobench.layout import Layout
from emobench.networks.sources import load_network
from emobench.params import Params, load_params
from emobench.stored_tables import read_table
from emobench.vocabulary import MARK
from emobench.vocabulary.card import load_vocabulary

SEES = 0.8
"""AUROC for the mark, one way or the other, from which a unit counts as seeing it."""
RANDOM = 100
"""Draws of as many units at random."""
EFFECT_SHARE = 0.05
"""The units that val says most against: their removal raises accuracy there, or lowers NLL most."""
JUDGED = ["config_id", "arm", "selected_on", "images", "accuracy", "gains", "losses", "mcnemar_p", "holm_p", "verdict"]


def auroc(values: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """How well each column tells flagged rows from others: (columns,), 0.5 for not at all.

    Args:
        values: (rows, columns).
        flags: (rows,) bool, some of each.

    >>> auroc(np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]]), np.array([False, True, True]))
    array([1., 0.])
    """
    ranks, count = rankdata(values, axis=0)[flags].sum(0), flags.sum()
    return (ranks - count * (count + 1) / 2) / (count * (len(flags) - count))


def groups(table: pd.DataFrame, effects: pd.DataFrame, sees: np.ndarray) -> dict[str, np.ndarray]:
    """Units (units,) bool: those that see the mark in truth, by their description, and by what they do on val.

    Args:
        table: units.parquet of the layer.
        effects: unit_effects.parquet of the layer, in the same order.
        sees: AUROC of each unit for the mark.
    """
    worst = effects.sort_values(["delta_accuracy", "delta_nll"], ascending=[False, True]).index
    against = np.zeros(len(table), bool)
    against[worst[: round(EFFECT_SHARE * len(table))]] = True
    return {
        "truth": np.abs(sees - 0.5) >= SEES - 0.5,
        "described": (table["description"] == MARK).to_numpy(),
        "described, significant": ((table["description"] == MARK) & table["significant"].astype(bool)).to_numpy(),
        "effect on val": against,
    }


def removed(ground: Ground, target: Target, masks: list[np.ndarray]) -> np.ndarray:
    """Which answers are right without some units (masks, images) bool; their outputs are replaced by 0."""
    configs = [target.selection("effect", torch.tensor(mask), None, operation="zero", divided=False) for mask in masks]
    logits = Bench(ground.head, target, ground.features, ground.labels, ground.positions, {}).logits(configs)
    return (logits.argmax(-1) == ground.labels).numpy()


def edits_table(ground: Ground, target: Target, found: dict[str, np.ndarray], marked: np.ndarray) -> pd.DataFrame:
    """What removing each group does, on val, on test, and on marked and unmarked test faces; random ones beside it.

    Args:
        ground: the network's head with what it gets.
        target: the layer.
        found: see groups.
        marked: (images,) of the ground.
    """
    val, test = ground.positions["val"], ground.positions["test"]
    sets = {"val": val, "test": test, "test_marked": test[marked[test]], "test_unmarked": test[~marked[test]]}
    rng, rows = np.random.default_rng(0), []
    none = removed(ground, target, [np.zeros(len(target.weight), bool)])[0]
    for name, mask in found.items():
        row = {"removed": name, "units": int(mask.sum()), "right_ones": float(found["truth"][mask].mean())}
        row["of_all_right_ones"] = float(mask[found["truth"]].mean())
        random = [rng.permutation(mask) for _ in range(RANDOM)]
        after, *luck = removed(ground, target, [mask, *random])
        row |= {f"{images}_before": none[at].mean() for images, at in sets.items()}
        row |= {f"{images}_after": after[at].mean() for images, at in sets.items()}
        row |= dict(zip(("gains", "losses", "p"), mcnemar(none[test], after[test]), strict=True))
        better = sum(one[test].sum() >= after[test].sum() for one in luck)
        rows.append(row | {"random_p": (1 + better) / (1 + RANDOM)})
    return pd.DataFrame(rows)


def study(params: Params, layout: Layout, imageset: ImageSet) -> pd.DataFrame:
    """The table of removals."""
    units, network = read_table(layout.artifacts / "units.parquet"), load_network(layout.models / "network")
    concepts = load_vocabulary(layout.data).speaks(params.edit.concept_set)
    ground = ground_of(network, imageset, units, concepts)
    rows = np.concatenate([imageset.rows(split) for split in ("val", "test")])
    marked = read_table(layout.data / "truth.parquet")[MARK].to_numpy()[rows] > 0
    activations = np.load(layout.artifacts / "activations" / f"{ground.layer}.npy", mmap_mode="r")[rows]
    test = ground.positions["test"]
    target = target_of(ground, params.edit)
    found = groups(target.units, target.effects, auroc(activations[test], marked[test]))
    return edits_table(ground, target, found, marked)


def arms_table(path: Path) -> pd.DataFrame:
    """What the arms and searches of the benchmark itself found, on test and by folds."""
    verdicts = read_table(path)
    shown = verdicts[verdicts["images"].isin(["test", "val_test_kept"])]
    return shown[[*JUDGED, *(["chosen"] if "chosen" in shown else [])]]


@click.command()
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Where to; reports/planted/<benchmark> without.")
def main(folder: Path | None) -> None:
    """Report on the shortcut of the benchmark in params.yaml."""
    params = load_params()
    layout = Layout(params.name)
    folder = folder or layout.reports.parent / "planted" / params.name
    removals = study(params, layout, load_imageset(layout.data))
    write_csv(folder / "removals.csv", removals)
    click.echo(removals.T.to_string(header=False))
    path = layout.artifacts / "verdicts.parquet"
    if path.is_file():
        verdicts = arms_table(path)
        write_csv(folder / "verdicts.csv", verdicts)
        click.echo(verdicts.to_string(index=False))


if __name__ == "__main__":
    main()
