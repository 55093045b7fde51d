"""What the planted study found, in small tables and figures."""

from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from emobench.edits.family import LEVEL
from emobench.files import replacing, write_csv
from emobench.reporting.figures.style import GRID, INK, MUTED, SERIES, Picture, in_style, new_axes

CONFIDENCE = 0.95


def shares(flags: pd.Series, name: str) -> dict[str, float]:
    """How often something holds, with its exact interval (Clopper and Pearson)."""
    low, high = proportion_confint(int(flags.sum()), len(flags), alpha=1 - CONFIDENCE, method="beta")
    return {name: int(flags.sum()), f"{name}_share": flags.mean(), f"{name}_low": low, f"{name}_high": high}


def null_table(nulls: pd.DataFrame) -> pd.DataFrame:
    """False verdicts of each kind of null: by edit, and by family, of which Holm's method promises at most LEVEL."""
    rows = []
    for null, table in nulls.groupby("null"):
        once = table.drop_duplicates(["draw", "config_id"])
        improves, harms = once["verdict"] == "improves", once["verdict"] == "harms"
        told = (once["holm_p"] < LEVEL).groupby(once["draw"]).any()
        row = {"null": null, "edits": len(once)} | shares(improves, "improves") | shares(harms, "harms")
        rows.append(row | {"families": len(told)} | shares(told, "families_told"))
    return pd.DataFrame(rows)


def gain_table(gains: pd.DataFrame) -> pd.DataFrame:
    """By place, kind and size of damage: what undoing it gains, how often that is told, and how often an edit is."""
    rows = []
    for (among, kind, share), table in gains.groupby(["among", "kind", "share"]):
        undone = table[table["arm"] == "undone"].set_index("draw")
        edits = table[table["arm"] != "undone"]
        told = undone["verdict"] == "significant"
        improves = edits[edits["verdict"] == "improves"]
        found = told.index.isin(improves["draw"])
        row = {"among": among, "kind": kind, "share": share, "plantings": len(undone)} | shares(told, "can_be_told")
        row |= shares(pd.Series(found), "improves")
        row |= {"net_images": (undone["gains"] - undone["losses"]).median()}
        row |= {"found": improves["found"].mean(), "others_moved": improves["others_moved"].mean()}
        rows.append(row | {"arms": ", ".join(improves["arm"].value_counts().index)})
    return pd.DataFrame(rows)


def arm_table(gains: pd.DataFrame) -> pd.DataFrame:
    """By arm, over the plantings of which the test can tell: how often it improves, what it harms, what it moves."""
    edits = gains[(gains["arm"] != "undone") & (gains["selected_on"] == "val")]
    rows = []
    for arm, table in edits.groupby("arm", sort=False):
        improves, harms = table["verdict"] == "improves", table["verdict"] == "harms"
        better = (table["holm_p"] < LEVEL) & (table["gains"] > table["losses"])
        row = {"arm": arm, "judged": len(table), "better_by_test": int(better.sum())}
        row |= shares(improves, "improves") | shares(harms, "harms")
        rows.append(row | dict(table.loc[improves, ["found", "others_moved"]].mean()))
    return pd.DataFrame(rows)


@in_style
def gain_picture(gains: pd.DataFrame) -> Picture:
    """The share of plantings in which an edit improves, by the share of damaged units; bars are 95 % intervals."""
    figure, axes = new_axes(5.2, 4)
    for number, ((among, kind), table) in enumerate(gain_table(gains).groupby(["among", "kind"])):
        if table["improves"].any():
            ends = np.abs(table[["improves_low", "improves_high"]].to_numpy().T - table["improves_share"].to_numpy())
            axes.errorbar(
                100 * table["share"], table["improves_share"], ends, color=SERIES[number % len(SERIES)], marker="o",
                markersize=4, linewidth=1.2, capsize=2, label=f"{among}, {kind}",
            )  # fmt: skip
    axes.set(xlabel="damaged units, % of the layer", ylabel="share of plantings told to improve", ylim=(-0.02, 1.02))
    axes.grid(color=GRID)
    axes.legend(loc="upper left")
    return Picture("gains", figure, "", "How often an edit of the damaged network is told to improve.")


@in_style
def null_picture(nulls: pd.DataFrame) -> Picture:
    """How often a null edit's p-value is below a level, against the level: a valid test stays below the diagonal."""
    figure, axes = new_axes(5.2, 4)
    for number, (null, table) in enumerate(nulls.groupby("null")):
        values = np.sort(table.drop_duplicates(["draw", "config_id"])["mcnemar_p"])
        axes.step(values, np.arange(1, len(values) + 1) / len(values), where="post", color=SERIES[number], label=null)
    axes.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=0.9)
    axes.axvline(LEVEL, color=MUTED, linestyle=":", linewidth=1)
    axes.set(xlabel="p, exact McNemar, uncorrected", ylabel="share of null edits with at most this p")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.grid(color=GRID)
    axes.legend(loc="upper left")
    return Picture("nulls", figure, "", "Distribution of the p-values of edits that change nothing by construction.")


def write_summary(folder: Path) -> list[pd.DataFrame]:
    """Writes the tables and figures of what the folder has, and returns the tables."""
    tables = []
    for name, kind, summed, picture in SUMMED:
        if (folder / f"{name}.csv").is_file():
            table = pd.read_csv(folder / f"{name}.csv")
            tables.append(summed(table))
            write_csv(folder / f"{name}_{kind}.csv", tables[-1])
            with replacing(folder / f"{name}.svg") as temporary:
                temporary.write_text(picture(table).svg)
    return tables


SUMMED = (
    ("nulls", "summary", null_table, null_picture),
    ("gains", "summary", gain_table, gain_picture),
    ("gains", "arms", arm_table, gain_picture),
)
"""Table, what is made of it, how, and its figure."""
