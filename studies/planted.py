"""Would it have found a gain, and does it find one where there is none? Truth planted in a benchmark's network.

Run in the repository's root after `dvc repro`: `python studies/planted.py nulls`, `... gains`, `... show`. What is
done is kept in reports/planted/<benchmark>/, so that an interrupted study goes on where it was, and a larger one adds
to it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.edits.planted import Ground, ground_of, judge
from emobench.edits.planting import AMONG, damaged_units, with_random_labels, with_shuffled_units
from emobench.edits.power import POWER, level, planned_family
from emobench.faces.imageset import load_imageset
from emobench.files import write_csv
from emobench.functional.paired import mcnemar
from emobench.functional.planting import KINDS, damaged_rows, found_share
from emobench.functional.power import smallest_gain
from emobench.layout import Layout
from emobench.networks.sources import load_network
from emobench.params import Params, load_params
from emobench.settings.edit import Controls, Edit
from emobench.vocabulary.card import load_vocabulary

SHARES = (0.005, 0.02, 0.05, 0.1, 0.2)
CELLS = (
    *(("random", kind, share) for kind in KINDS for share in SHARES),
    *(("important", "reversed", share) for share in (0.02, 0.04, 0.05, 0.06, 0.08)),
    *(("important", "loud", share) for share in (0.02, 0.05, 0.1, 0.2)),
    *(("described", "reversed", share) for share in (0.02, 0.05, 0.1, 0.2)),
)
"""Among which units, how, and which share of the layer is damaged: from what no test can see to what any would."""
CONTROLS = Controls(draws=40, least=10)
"""Of planted gains: fewer than a benchmark's, still enough for a rank p below the level."""
BOOTSTRAP_DRAWS = 1000
"""Fewer than a benchmark's: of the intervals only one end counts here, and only where a test is significant."""
INFORMED = {"effect", "weight_norm"}
"""Arms that don't go by descriptions: under shuffled descriptions they would still select what they select."""
KEPT = ["arm", "selected_on", "config_id", "gains", "losses", "mcnemar_p", "holm_p", "verdict", "detectable"]


def inputs() -> tuple[Params, Ground, Path]:
    """Params, the benchmark's network as ground, and where the study is kept."""
    params = load_params()
    compare = dataclasses.replace(params.compare, bootstrap_draws=BOOTSTRAP_DRAWS)
    # One layer is planted in: no joint search.
    alone = dataclasses.replace(params.edit.search, joint=[])
    params = dataclasses.replace(params, compare=compare, edit=dataclasses.replace(params.edit, search=alone))
    layout = Layout(params.name)
    units = pd.read_parquet(layout.artifacts / "units.parquet")
    concepts = load_vocabulary(layout.data).speaks(params.edit.concept_set)
    ground = ground_of(load_network(layout.models / "network"), load_imageset(layout.data), units, concepts)
    return params, ground, layout.reports.parent / "planted" / params.name


def without_informed(edit: Edit) -> Edit:
    """The arms that go by descriptions alone, without searches."""
    arms = [arm for arm in edit.arms if arm not in INFORMED]
    return dataclasses.replace(edit, arms=arms, search=dataclasses.replace(edit.search, kinds=[]))


def of_nulls(params: Params, ground: Ground, draw: int) -> Iterator[pd.DataFrame]:
    """The verdicts of both kinds of null in one draw: every row is an edit that has nothing to gain by construction."""
    seed = params.seed + draw
    worlds = {
        "labels": (with_random_labels(ground, np.random.default_rng((seed, 0))), params.edit),
        "units": (
            with_shuffled_units(ground, params.edit, np.random.default_rng((seed, 1))),
            without_informed(params.edit),
        ),
    }
    for null, (world, edit) in worlds.items():
        found = judge(world, edit, params.compare, seed=seed).verdicts
        yield found[KEPT].assign(null=null, draw=draw)


def damaged_ground(
    params: Params, ground: Ground, among: str, kind: str, share: float, draw: int
) -> tuple[Ground, Tensor]:
    """One planting: the damaged network, and which units are damaged."""
    seed, count = params.seed + draw, max(1, round(share * len(ground.weight)))
    rng = np.random.default_rng((seed, list(AMONG).index(among), KINDS.index(kind), round(1000 * share)))
    units = damaged_units(ground, params.edit, among, count, rng)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return ground.with_weight(damaged_rows(ground.weight, units, kind, generator=generator)), units


def of_gains(params: Params, ground: Ground, among: str, kind: str, share: float, draw: int) -> pd.DataFrame:
    """What some damage costs on test, and the verdicts on the edits of the damaged network.

    The first row, of arm ``undone``, is the sound network against the damaged one: some edit provably gains as much.
    Where that is less than the test can tell, nothing is judged, for there is nothing that could be found.
    """
    edit, seed = dataclasses.replace(params.edit, controls=CONTROLS), params.seed + draw
    damaged, units = damaged_ground(params, ground, among, kind, share, draw)
    undone = of_undoing(params, ground, damaged)
    tables = [pd.DataFrame([undone])]
    if undone["verdict"] == "significant":
        judged = judge(damaged, edit, params.compare, seed=seed)
        table = judged.verdicts[KEPT].copy()
        shares = [found_share(judged.edits[name].scale, units, kind) for name in table["config_id"]]
        tables.append(table.assign(**dict(zip(("found", "others_moved"), np.array(shares).T, strict=True))))
    return pd.concat(tables, ignore_index=True).assign(among=among, kind=kind, share=share, draw=draw)


def of_undoing(params: Params, ground: Ground, damaged: Ground) -> dict[str, Any]:
    """The test of the sound network against the damaged one, at the level that the edits' family has to keep."""
    gains, losses, p_value = mcnemar(damaged.right("test"), ground.right("test"))
    alone = level(planned_family(params.edit))
    needed = smallest_gain(gains + losses, alpha=alone, power=POWER)
    told = p_value < alone and gains > losses
    row = {"arm": "undone", "gains": gains, "losses": losses, "mcnemar_p": p_value, "detectable": needed}
    return row | {"verdict": "significant" if told else "no evidence"}


def added(path: Path, table: pd.DataFrame) -> None:
    """Adds rows to a table that may be there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = [pd.read_csv(path)] if path.is_file() else []
    write_csv(path, pd.concat([*before, table], ignore_index=True))


def known(path: Path, *columns: str) -> set[tuple]:
    """What a table has already: the values of some columns."""
    return set(pd.read_csv(path)[list(columns)].itertuples(index=False, name=None)) if path.is_file() else set()


def asked_cells(places: Sequence[str], kinds: Sequence[str], shares: Sequence[float]) -> list[tuple[str, str, float]]:
    """Those of CELLS in these places and of these kinds, empty for all; with other shares if any are given."""
    cells = [cell for cell in CELLS if cell[0] in (places or AMONG) and cell[1] in (kinds or KINDS)]
    if not shares:
        return cells
    return [(*pair, share) for pair in dict.fromkeys((among, kind) for among, kind, _ in cells) for share in shares]


@click.group()
def main() -> None:
    """Plant nulls and gains, and see what the verdicts make of them."""


@main.command()
@click.option("--draws", default=20, show_default=True, help="Draws of each kind of null; each judges a whole family.")
def nulls(draws: int) -> None:
    """Judge edits that change nothing by construction: how many verdicts are false?"""
    params, ground, folder = inputs()
    done = known(folder / "nulls.csv", "draw")
    for draw in range(draws):
        if (draw,) not in done:
            added(folder / "nulls.csv", pd.concat(of_nulls(params, ground, draw)))
            click.echo(f"nulls: draw {draw + 1} of {draws}")


@main.command()
@click.option("--draws", default=20, show_default=True, help="Plantings of each kind and size.")
@click.option("--among", "places", multiple=True, type=click.Choice(list(AMONG)), help="Only in such units.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only such damage.")
@click.option("--share", "shares", multiple=True, type=float, help="Of the units; without: what CELLS has.")
@click.option("--cpu-minutes", default=float("inf"), help="Stop after so many; the next call goes on.")
def gains(
    draws: int, places: tuple[str, ...], kinds: tuple[str, ...], shares: tuple[float, ...], cpu_minutes: float
) -> None:
    """Damage known units, and see at which size of damage an edit is told to improve."""
    params, ground, folder = inputs()
    cells = asked_cells(places, kinds, shares)
    done = known(folder / "gains.csv", "among", "kind", "share", "draw")
    for draw in range(draws):
        for cell in cells:
            if process_time() > 60 * cpu_minutes:
                click.echo(f"gains: stopped in draw {draw + 1}; call again to go on")
                return
            if (*cell, draw) not in done:
                added(folder / "gains.csv", of_gains(params, ground, *cell, draw))
        click.echo(f"gains: draw {draw + 1} of {draws}")


@main.command()
def show() -> None:
    """Sum up what was done, as tables and a figure beside it."""
    from planted_tables import write_summary

    params = load_params()
    for table in write_summary(Layout(params.name).reports.parent / "planted" / params.name):
        click.echo(table.T.to_string(header=False))


if __name__ == "__main__":
    main()
