"""What studies/real_gain.py found: a table with corrected p-values, a figure, and what they say in one sentence."""

import json
from pathlib import Path

import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from emobench.edits.family import LEVEL
from emobench.edits.power import detectable
from emobench.errors import UserError
from emobench.files import replacing, write_csv
from emobench.functional.paired import holm
from emobench.reporting.figures.style import INK, MUTED, SERIES, Picture, in_style, name_ticks, new_axes, stretched

COLUMNS = [
    *(
        "search",
        "protocol",
        "scales",
        "images",
        "accuracy_before",
        "accuracy",
        "gains",
        "losses",
        "points",
        "low",
        "high",
    ),
    *("p", "holm_p", "detectable", "detectable_points", "told", "chosen", "fits", "cpu_seconds"),
]
WORDS = {"cross_fitted": "by folds of val and test", "test": "on test, chosen on val"}


def summary(searches: pd.DataFrame) -> pd.DataFrame:
    """The searches with Holm's p over those of one protocol, and the smallest gain that each test would have found."""
    parts = []
    for _, own in searches.groupby("protocol", sort=False):
        images = int(own["images"].iloc[0])
        named = own.assign(config_id=own["search"])
        own = own.assign(holm_p=holm(own["p"].tolist()), **detectable(named, images))
        better = own["gains"] > own["losses"]
        told = pd.Series("no evidence", own.index)
        told[(own["holm_p"] < LEVEL) & better] = "gain"
        told[(own["holm_p"] < LEVEL) & ~better] = "loss"
        parts.append(own.assign(told=told))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def sentence(table: pd.DataFrame, benchmark: str) -> str:
    """What the table says, in one sentence a protocol."""
    lines = []
    for protocol, own in table.groupby("protocol", sort=False):
        found, best = own[own["told"] == "gain"], own.loc[own["points"].idxmax()]
        where = f"{benchmark}, {WORDS[str(protocol)]} ({best['images']:,} images)"
        told = f"{best['search']} {best['points']:+.2f} points, +{best['gains']} -{best['losses']}, p {best['p']:.2g}, "
        told += f"Holm's {best['holm_p']:.2g}"
        if len(found):
            lines.append(f"{where}: {len(found)} of {len(own)} searches gain; the best: {told}.")
            continue
        seen = own["detectable_points"].dropna()
        blind = len(own) - len(seen)
        text = f"{where}: none of {len(own)} searches gains; the best: {told}; "
        text += f"the highest end of an interval is {own['high'].max():+.2f}"
        if len(seen):
            ends = f"{seen.min():.2f} to {seen.max():.2f}"
            text += f", and a true gain of {ends} points, by how many answers the search changes, would have been found"
            text += " in 80 of 100 cases"
        if blind:
            text += f"; {blind} change too few answers for any gain to be found"
        lines.append(f"{text}.")
    return "\n".join(lines)


def false_gains(nulls: pd.DataFrame) -> pd.DataFrame:
    """How often a search is told to gain, or to lose, where nothing is there, uncorrected, with the exact interval."""
    rows = []
    for name, own in nulls.groupby("search"):
        told, up = own["p"] < LEVEL, own["gains"] > own["losses"]
        row = {"search": name, "draws": len(own)}
        for kind, flags in (("gain", told & up), ("told", told)):
            low, high = proportion_confint(int(flags.sum()), len(own), method="beta")
            row |= {kind: int(flags.sum()), f"{kind}_share": flags.mean(), f"{kind}_low": low, f"{kind}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


@in_style
def picture(table: pd.DataFrame) -> Picture:
    """Each search's difference with its interval by both protocols, and the smallest gain its test would have found."""
    names = list(dict.fromkeys(table["search"]))
    figure, axes = new_axes(7, 1.2 + stretched(0.42 * 8, len(names), 8))
    axes.axvline(0, color=INK, linewidth=0.9)
    for number, (protocol, own) in enumerate(table.groupby("protocol", sort=False)):
        places = [names.index(name) + 0.28 * number - 0.14 for name in own["search"]]
        for place, row in zip(places, own.to_dict("records"), strict=True):
            axes.plot([row["low"], row["high"]], [place] * 2, color=SERIES[number], linewidth=1.6)
        axes.plot(own["points"], places, "s", color=SERIES[number], markersize=5, label=WORDS[str(protocol)])
        axes.plot(own["detectable_points"], places, "|", color=MUTED, markersize=9, markeredgewidth=1.6)
    axes.plot(
        [], [], "|", color=MUTED, markersize=9, markeredgewidth=1.6, label="found in 80 of 100 cases from here on"
    )
    name_ticks(axes.yaxis, names)
    axes.set(xlabel="difference in accuracy, points", ylim=(len(names) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    figure.legend(loc="outside upper center", ncols=2)
    caption = "What each search changes, with its interval; grey: the gain from which on its test would have seen it."
    return Picture("searches", figure, caption, "Differences in accuracy of all searches with their intervals.")


def write_summary(folder: Path) -> str:
    """Writes summary.csv, searches.svg and README.md of what the folder has; returns the sentence.

    Raises:
        UserError: nothing was searched yet.
    """
    path = folder / "searches.csv"
    if not path.is_file():
        raise UserError(f"no {path}; run: python studies/real_gain.py run")
    table = summary(pd.read_csv(path))
    write_csv(folder / "summary.csv", table)
    drawn, said = picture(table), sentence(table, json.loads((folder / "settings.json").read_text())["benchmark"])
    with replacing(folder / "searches.svg") as temporary:
        temporary.write_text(drawn.svg)
    told = said.replace("\n", "\n\n")
    page = f"# A real gain, if there is one\n\n{told}\n\n![{drawn.alt}](searches.svg)\n\n{drawn.caption} Made with "
    page += "`python studies/real_gain.py run`; summary.csv has the numbers, settings.json what they were made with.\n"
    with replacing(folder / "README.md") as temporary:
        temporary.write_text(page)
    return said
