"""Does choosing and judging by folds of val and test keep its level, and what does it see beyond test alone?

Run like studies/planted.py, and into the same folder: `python studies/planted_folds.py`. Answers of the edits are
computed once a planting, tests need no more; so this study costs a few seconds a hundred draws of nulls.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pandas as pd
from planted import CELLS, damaged_ground, inputs, known, without_informed
from statsmodels.stats.proportion import proportion_confint

from emobench.edits.family import LEVEL
from emobench.edits.planted import Ground, answers_of
from emobench.edits.planting import with_random_labels
from emobench.files import write_csv
from emobench.functional.cross_fitting import cross_fitted, dealt_folds
from emobench.functional.paired import mcnemar
from emobench.params import Params

DRAWS = 499
"""Of signs: enough for a p-value at the level."""
KEY = ["truth", "among", "kind", "share"]


def tested(ground: Ground, answers: np.ndarray, folds: int, seed: int) -> dict[str, float]:
    """The choice by folds on val and test, and the choice on val tested on test, both of the same configurations.

    Args:
        ground: labels, copies and positions.
        answers: (1 + configs, images), the baseline first.
        folds: how many.
        seed: of the folds and of the draws of signs.
    """
    right = answers == ground.labels.numpy()
    changes = right[1:].astype(np.int8) - right[:1].astype(np.int8)
    by_folds = cross_fitted(changes, dealt_folds(ground.copies, folds, seed=seed), draws=DRAWS, seed=seed)
    val, test = ground.positions["val"], ground.positions["test"]
    best = 1 + int(changes[:, val].sum(1).argmax())
    alone = mcnemar(right[0, test], right[best, test])
    pooled = mcnemar(right[0], right[1 + int(changes.sum(1).argmax())])
    names = ("cross_fitted", "test", "best_of_all")
    found = {}
    for name, one in zip(names, (by_folds, alone, pooled), strict=True):
        found |= {f"{name}_gains": one.gains, f"{name}_losses": one.losses, f"{name}_p": one.p_value}
    return found


def of_nulls(params: Params, ground: Ground, draws: range) -> Iterator[dict]:
    """Every label drawn anew: no edit has anything to gain. What the edits answer stays the same."""
    answers = answers_of(ground, without_informed(params.edit))
    for draw in draws:
        world = with_random_labels(ground, np.random.default_rng((params.seed + draw, 0)))
        found = tested(world, answers, params.compare.cross_fitting.folds, params.seed + draw)
        yield {"truth": "null", "among": "", "kind": "labels", "share": 0.0, "draw": draw, **found}


def of_gains(params: Params, ground: Ground, draws: range, done: set[tuple]) -> Iterator[dict]:
    """Damaged units, as in studies/planted.py: the same plantings, but those that nothing could be found of."""
    edit = without_informed(params.edit)
    for draw in draws:
        for cell in (one for one in CELLS if one[0] != "random"):
            if ("gain", *cell, draw) not in done:
                damaged, _ = damaged_ground(params, ground, *cell, draw)
                folds = params.compare.cross_fitting.folds
                found = tested(damaged, answers_of(damaged, edit), folds, params.seed + draw)
                yield {"truth": "gain", **dict(zip(KEY[1:], cell, strict=True)), "draw": draw, **found}


def summed(table: pd.DataFrame) -> pd.DataFrame:
    """How often each test finds a gain, and how often a loss, with the exact interval of the former."""
    rows = []
    for key, cell in table.groupby(KEY, dropna=False):
        row = dict(zip(KEY, key, strict=True)) | {"draws": len(cell)}
        for name in ("cross_fitted", "test", "best_of_all"):
            told, net = cell[f"{name}_p"] < LEVEL, cell[f"{name}_gains"] - cell[f"{name}_losses"]
            found = int((told & (net > 0)).sum())
            low, high = proportion_confint(found, len(cell), method="beta")
            row |= {f"{name}_gain": found / len(cell), f"{name}_low": low, f"{name}_high": high}
            row |= {f"{name}_loss": float((told & (net < 0)).mean())}
        rows.append(row)
    return pd.DataFrame(rows)


def write(folder: Path, rows: list[dict]) -> None:
    """Adds rows to folds.csv and sums all of it up beside it."""
    path = folder / "folds.csv"
    before = [pd.read_csv(path, keep_default_na=False)] if path.is_file() else []
    table = pd.concat([*before, pd.DataFrame(rows)], ignore_index=True)
    write_csv(path, table)
    write_csv(folder / "folds_summary.csv", summed(table))


@click.command()
@click.option("--nulls", default=400, show_default=True, help="Draws of random labels.")
@click.option("--draws", default=20, show_default=True, help="Plantings of each kind and size.")
def main(nulls: int, draws: int) -> None:
    """Test choices by folds, and on test alone, where there is nothing to gain and where there is."""
    params, ground, folder = inputs()
    path = folder / "folds.csv"
    ahead = sum(truth == "null" for truth, _ in known(path, "truth", "draw"))
    write(folder, list(of_nulls(params, ground, range(ahead, max(ahead, nulls)))))
    for draw in range(draws):
        rows = list(of_gains(params, ground, range(draw, draw + 1), known(path, *KEY, "draw")))
        if rows:
            write(folder, rows)
        click.echo(f"folds: draw {draw + 1} of {draws}")
    click.echo(summed(pd.read_csv(path, keep_default_na=False)).to_string(index=False))


if __name__ == "__main__":
    main()
