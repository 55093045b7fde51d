"""Is there a real gain, if scales are searched for in earnest? And how large a gain is excluded where none is found?

Run in the repository's root after `dvc repro`: `python studies/real_gain.py run`, then `... show`; `... nulls` counts
how often a search is told to gain where there is nothing to gain. Everything is chosen on val, or by cross-fitting on
val and test together: fitted and chosen on all folds but one, judged on that one. What is done is kept in
reports/gain/<benchmark>/, so that an interrupted study goes on where it was. `--search` asks for some searches alone;
of a large network the steps decide what they cost, `--cost` tells before.
"""

import dataclasses
from pathlib import Path
from time import process_time
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from real_gain_searches import SEARCHES, Asked, Bench, numbers_of
from real_gain_tables import false_gains, write_summary

import emobench
from emobench.edits.nested import Descent, FoldSearch, fits_needed
from emobench.errors import UserError
from emobench.files import write_csv, write_json
from emobench.functional.cross_fitting import dealt_folds
from emobench.functional.paired import mcnemar, paired_bootstrap
from emobench.layout import Layout
from emobench.params import load_params
from emobench.stored import read_json
from emobench.sweeps.scaled import search_scales

FEW, STEPS = 32, 3
"""Images and steps by which a search's cost is measured."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all rows of one study share: how scales are fitted, on what, and of which network."""

    benchmark: str
    folds: int
    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    images: int
    images_digest: str
    network: str
    version: str

    @property
    def descent(self) -> Descent:
        """Of every fit."""
        return Descent(self.steps, self.batch_size, self.learning_rate, self.seed)


def counts(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Images, how many are right before and after, gained and lost, and the exact McNemar p.

    >>> counts(np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([0, 1, 1]))["gained"]
    1
    """
    test = mcnemar(before == labels, after == labels)
    row = {"images": len(labels), "accuracy_before": (before == labels).mean(), "accuracy": (after == labels).mean()}
    return row | {"gains": test.gains, "losses": test.losses, "p": test.p_value}


def folds_of(bench: Bench, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """The folds of val and test together, and those of val alone (-1 for test): (images,) each."""
    every = dealt_folds(bench.groups, settings.folds, seed=settings.seed)
    alone = np.full(len(every), -1)
    alone[bench.val] = dealt_folds(bench.groups[bench.val], settings.folds, seed=settings.seed)
    return every, alone


def by_folds(search: FoldSearch, folds: np.ndarray) -> tuple[np.ndarray, str]:
    """What the images are answered by choices that never saw their fold, and what was chosen how often."""
    logits, chosen = search.cross_fitted(folds)
    words = ", ".join(f"{name} ({count} of {len(chosen)})" for name, count in pd.Series(chosen).value_counts().items())
    return logits.argmax(1).numpy(), words


def judged(bench: Bench, name: str, asked: Asked, settings: Settings) -> list[dict[str, Any]]:
    """A search by both protocols, a row each: on all images by folds, and on test, fitted and chosen on val."""
    begun, search = process_time(), bench.search(asked, settings.descent)
    every, alone = folds_of(bench, settings)
    labels, test = bench.labels.numpy(), np.flatnonzero(~bench.val)
    before = search.ways[0].network.all_logits(None).argmax(1).numpy()
    answers, words = by_folds(search, every)
    way, scales = search.chosen(alone)
    on_test = way.network.all_logits(scales, test).argmax(1).numpy()
    parts = {"cross_fitted": (labels, before, answers, words),
             "test": (labels[test], before[test], on_test, way.name)}  # fmt: skip
    seconds, rows = process_time() - begun, []
    for protocol, (truth, first, second, chosen) in parts.items():
        row = {"search": name, "protocol": protocol, "scales": numbers_of(search.ways), "chosen": chosen}
        row |= counts(truth, first, second) | interval(bench, truth, first, second, settings.seed)
        rows.append(row | {"fits": fits_needed(len(search.ways), settings.folds), "cpu_seconds": round(seconds, 1)})
    return rows


def interval(bench: Bench, labels: np.ndarray, before: np.ndarray, after: np.ndarray, seed: int) -> dict[str, float]:
    """The difference in accuracy in points, with the ends of its bootstrap interval."""
    compare, tensors = bench.params.compare, [torch.from_numpy(np.asarray(one)) for one in (labels, before, after)]
    found = paired_bootstrap(
        *tensors, draws=compare.bootstrap_draws, confidence=compare.confidence, seed=seed,
        class_names=bench.network.classes,
    )["accuracy"]  # fmt: skip
    return {"points": 100 * found.delta, "low": 100 * found.low, "high": 100 * found.high}


def null_rows(bench: Bench, name: str, settings: Settings, draws: range) -> list[dict[str, Any]]:
    """A search by folds where every label is drawn anew, any class as likely: nothing can be gained."""
    search = bench.search(SEARCHES[name], settings.descent)
    before, rows = search.ways[0].network.all_logits(None).argmax(1).numpy(), []
    for draw in draws:
        rng = np.random.default_rng((settings.seed, draw))
        labels = torch.from_numpy(rng.integers(len(bench.network.classes), size=len(before)))
        world = FoldSearch(search.ways, labels, dataclasses.replace(settings.descent, seed=settings.seed + draw))
        answers, _ = by_folds(world, dealt_folds(bench.groups, settings.folds, seed=settings.seed + draw))
        rows.append({"search": name, "draw": draw, **counts(labels.numpy(), before, answers)})
    return rows


def settings_of(bench: Bench, **options: int) -> Settings:
    """Of a study of a benchmark."""
    return Settings(
        bench.params.name, **options, learning_rate=bench.params.edit.search.learning_rate, seed=bench.params.seed,
        images=len(bench.rows), images_digest=bench.imageset.digest(), network=bench.network.card.weights,
        version=emobench.__version__,
    )  # fmt: skip


def noted(settings: Settings, folder: Path) -> Settings:
    """The same, written down beside what is made with them.

    Raises:
        UserError: the folder has results made with others.
    """
    path = folder / "settings.json"
    if path.is_file():
        before = vars(read_json(path, "the study", Settings))
        other = [f"{key} {before[key]}, now {value}" for key, value in vars(settings).items() if before[key] != value]
        if other:
            raise UserError(
                f"{path} is of a study with {'; '.join(other)}; take it away, or name another folder by --to"
            )
    write_json(path, vars(settings))
    return settings


def added(path: Path, rows: list[dict[str, Any]]) -> None:
    """Adds rows to a table that may be there already."""
    before = [pd.read_csv(path)] if path.is_file() else []
    write_csv(path, pd.concat([*before, pd.DataFrame(rows)], ignore_index=True))


def image_seconds(bench: Bench, asked: Asked, settings: Settings) -> tuple[float, float]:
    """CPU seconds that an image takes in a step of a fit, and where it is only answered; measured on a few."""
    few = dataclasses.replace(bench, images=FEW)
    search = few.search(asked._replace(wheres=asked.wheres[:1]), settings.descent)
    way, rows, seconds = search.ways[0], np.arange(len(few.rows)), []
    short = {"penalty": way.penalty, "steps": STEPS, "batch_size": len(rows), "learning_rate": 0.01, "seed": 0}
    way.network.all_logits(None)
    for work in (
        lambda: way.network.all_logits(None),
        lambda: search_scales(way.network, search.labels, rows, way.groups, **short),
    ):
        begun = process_time()
        work()
        seconds.append((process_time() - begun) / len(rows))
    # A fit begins with answers, from which the temperature starts.
    return (seconds[1] - seconds[0]) / STEPS, seconds[0]


def made_with(command: Any) -> Any:
    """The options that all commands share."""
    for option in (
        click.option(
            "--search", "names", multiple=True, type=click.Choice(list(SEARCHES)), help="Only these searches."
        ),
        click.option("--folds", default=4, show_default=True, type=click.IntRange(2)),
        click.option("--steps", default=40, show_default=True, type=click.IntRange(1), help="Of each fit."),
        click.option("--batch-size", default=128, show_default=True, type=click.IntRange(1), help="Images a step."),
        click.option("--images", default=0, type=click.IntRange(0), help="Of val and test at most so many; 0 for all."),
        click.option(
            "--to", "folder", type=click.Path(path_type=Path), help="Folder; reports/gain/<benchmark> without."
        ),
    ):
        command = option(command)
    return command


def inputs(folder: Path | None, images: int) -> tuple[Bench, Path]:
    """The benchmark in params.yaml, and where the study is kept."""
    params = load_params()
    layout = Layout(params.name)
    return Bench(params, layout, images), folder or layout.reports.parent / "gain" / params.name


@click.group()
def main() -> None:
    """Search for a gain in earnest, and tell how large a gain is excluded."""


@main.command()
@made_with
@click.option("--cost", is_flag=True, help="Measure a step of each search, tell what all of it would cost, do nothing.")
def run(names: tuple[str, ...], folder: Path | None, images: int, cost: bool, **options: int) -> None:
    """Make the searches that aren't there yet, and judge each by folds and on test."""
    bench, folder = inputs(folder, images)
    if cost:
        tell_cost(bench, names, settings_of(bench, **options))
        return
    settings, path = noted(settings_of(bench, **options), folder), folder / "searches.csv"
    done = set(pd.read_csv(path)["search"]) if path.is_file() else set()
    for name in names or SEARCHES:
        if name in done:
            continue
        try:
            rows = judged(bench, name, SEARCHES[name], settings)
        except UserError as error:
            click.echo(f"{name}: left out, {error}")
            continue
        added(path, rows)
        told = "; ".join(f"{row['protocol']} +{row['gains']} -{row['losses']} of {row['images']}" for row in rows)
        click.echo(f"{name}: {told}; {rows[0]['cpu_seconds']} CPU seconds")
    click.echo(write_summary(folder))


def tell_cost(bench: Bench, names: tuple[str, ...], settings: Settings) -> None:
    """Says what each search would cost."""
    count = len(bench.rows)
    for name in names or SEARCHES:
        asked, penalties = SEARCHES[name], bench.params.edit.search.penalties
        ways = len(asked.wheres) or (len(penalties) if asked.kind == "free" else 1)
        fits, (step, answer) = fits_needed(ways, settings.folds), image_seconds(bench, asked, settings)
        fitting = fits * settings.steps * min(settings.batch_size, count) * step
        # Before a fit its temperature starts from four batches; behind it one fold is answered, or two.
        scored = fits * (min(4 * settings.batch_size, count) + min(ways, 2) * count / settings.folds) * answer
        told = f"{1000 * step:.2f} CPU ms an image and step, {1000 * answer:.2f} an answer"
        click.echo(f"{name}: {fits} fits, {told}: about {(fitting + scored) / 60:.1f} CPU minutes")


@main.command()
@made_with
@click.option("--draws", default=100, show_default=True, type=click.IntRange(1), help="Of labels.")
def nulls(names: tuple[str, ...], folder: Path | None, images: int, draws: int, **options: int) -> None:
    """Search where every label is drawn anew: how often is a gain told where none can be?"""
    bench, folder = inputs(folder, images)
    settings, path = noted(settings_of(bench, **options), folder), folder / "nulls.csv"
    for name in names or ("edited-descriptions",):
        done = pd.read_csv(path).query("search == @name") if path.is_file() else pd.DataFrame({"draw": []})
        first = len(done)
        if first < draws:
            added(path, null_rows(bench, name, settings, range(first, draws)))
    table = false_gains(pd.read_csv(path))
    write_csv(folder / "nulls_summary.csv", table)
    click.echo(table.to_string(index=False))


@main.command()
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Folder; reports/gain/<benchmark> without.")
def show(folder: Path | None) -> None:
    """Sum up what was done: a table, a figure and a sentence."""
    _, folder = inputs(folder, 0)
    click.echo(write_summary(folder))


if __name__ == "__main__":
    main()
