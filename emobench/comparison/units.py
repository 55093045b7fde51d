"""Which concepts the units of one network stand for and those of another don't: what a retraining gained or lost.

Units have no counterparts in another network, so concepts are counted: how many of a network's units are significantly
described by each. Of two networks of the same layers the layers can be looked at alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from emobench.comparison.listing import listing
from emobench.edits.family import LEVEL
from emobench.errors import UserError, unknown_name
from emobench.functional.paired import holm
from emobench.layout import Layout
from emobench.stored_tables import read_table

COLUMNS = ("concept", "units_a", "share_a", "units_b", "share_b", "change_points", "p", "holm_p", "status")


@dataclass(frozen=True)
class Changes:
    """What changed: a row a concept with COLUMNS; and how many units of both were counted, significant or not."""

    table: pd.DataFrame
    units: tuple[int, int]
    concept_set: str
    similarity_fn: str


def units_of(name: str, root: Path) -> pd.DataFrame:
    """The unit table of a benchmark, or a copy of one, a parquet file of any name.

    Raises:
        UserError: there is none, or it can't be read.
    """
    path = Path(name)
    if path.suffix != ".parquet":
        path = Layout(name, root).artifacts / "units.parquet"
        known = sorted(one.parent.name for one in (root / "artifacts").glob("*/units.parquet"))
        if not path.is_file():
            raise unknown_name("dissected benchmark", name, known or ["none here; run dvc repro dissect"])
    return read_table(path, called="units")


def changes(
    before: pd.DataFrame, after: pd.DataFrame, *, concepts: str | None = None, function: str | None = None,
    layers: Sequence[str] = (),
) -> Changes:  # fmt: skip
    """Counts the units that are significantly described by each concept in two networks.

    Args:
        before: units.parquet of one.
        after: of the other.
        concepts: the concept set; without, the last that both have, as edits usually go by the user's own.
        function: the score function; without, the first that both have.
        layers: only these; all without.

    Returns:
        Rows, the largest change of the share of units first: a concept is ``gained`` or ``lost`` where Holm's p is
        below LEVEL, else ``alike``. Shares are of all units.

    Raises:
        UserError: nothing in common, or a name that one of them lacks.
    """
    concepts = _common("concept_set", before, after, concepts, last=True)
    function = _common("similarity_fn", before, after, function)
    both = [_chosen(table, concepts, function, layers) for table in (before, after)]
    sizes = (len(both[0]), len(both[1]))
    counts = [table.loc[_significant(table), "description"].value_counts() for table in both]
    table = pd.DataFrame({"units_a": counts[0], "units_b": counts[1]}).fillna(0).astype(int)
    table.insert(0, "concept", table.index)
    for name, size in zip("ab", sizes, strict=True):
        table[f"share_{name}"] = table[f"units_{name}"] / size
    table["change_points"] = 100 * (table["share_b"] - table["share_a"])
    table["p"] = [_fisher(a, b, sizes) for a, b in zip(table["units_a"], table["units_b"], strict=True)]
    table["holm_p"] = holm(table["p"].tolist())
    told = table["holm_p"] < LEVEL
    table["status"] = "alike"
    table.loc[told & (table["change_points"] > 0), "status"] = "gained"
    table.loc[told & (table["change_points"] < 0), "status"] = "lost"
    order = table["change_points"].abs().sort_values(ascending=False, kind="stable").index
    return Changes(
        table.sort_values("concept").loc[order, list(COLUMNS)].reset_index(drop=True), sizes, concepts, function
    )


def text(found: Changes, before: str, after: str, form: str, *, top: int | None = None) -> str:
    """The changes as table or md for people, as csv or json for programs."""
    rows = [{str(name): value for name, value in row.items()} for row in found.table.head(top).to_dict("records")]
    if form in ("csv", "json"):
        return listing(rows, COLUMNS, form)
    shown = [
        {
            "concept": row["concept"],
            "A": f"{row['units_a']:,} ({row['share_a']:.1%})",
            "B": f"{row['units_b']:,} ({row['share_b']:.1%})",
            "change": f"{row['change_points']:+.1f}",
            "p, Holm": f"{row['holm_p']:.2g}",
            "": "" if row["status"] == "alike" else row["status"],
        }
        for row in rows
    ]
    head = [
        f"Units significantly described by a concept of {found.concept_set} ({found.similarity_fn})",
        f"A: {before}, {found.units[0]:,} units; B: {after}, {found.units[1]:,} units; change in percentage points",
    ]
    body = listing(shown, list(shown[0]), form) if shown else "none in either network"
    return "\n".join([*head, "", body])


def _common(column: str, before: pd.DataFrame, after: pd.DataFrame, name: str | None, *, last: bool = False) -> str:
    """The value of a column that is asked for, or one that both tables have."""
    known = [one for one in before[column].unique() if one in set(after[column])]
    if name is not None and name not in known:
        raise unknown_name(f"{column} of both networks", name, known or ["none in common"])
    if not known:
        raise UserError(f"the two networks have no {column} in common; dissect both by the same")
    return name if name is not None else str(known[-1 if last else 0])


def _chosen(table: pd.DataFrame, concepts: str, function: str, layers: Sequence[str]) -> pd.DataFrame:
    rows = table[(table["concept_set"] == concepts) & (table["similarity_fn"] == function)]
    for layer in layers:
        if layer not in set(rows["layer"]):
            raise unknown_name("layer", layer, list(dict.fromkeys(rows["layer"])))
    return rows[rows["layer"].isin(layers)] if layers else rows


def _significant(table: pd.DataFrame) -> pd.Series:
    if "significant" not in table:
        raise UserError("units.parquet has no column significant; run dvc repro dissect")
    return table["significant"].astype(bool)


def _fisher(a: int, b: int, sizes: tuple[int, int]) -> float:
    from scipy.stats import fisher_exact

    return float(fisher_exact([[a, sizes[0] - a], [b, sizes[1] - b]]).pvalue)
