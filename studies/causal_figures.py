"""The figures of studies/causal.py, in the house style."""

import pandas as pd

from emobench.reporting.figures.style import INK, MUTED, SERIES, Picture, in_style, name_ticks, new_axes


@in_style
def specificity_picture(table: pd.DataFrame) -> Picture:
    """Share of the response that is the described concept's own, by layer, beside a random and the best concept."""
    figure, axes = new_axes(6.2, 4)
    lines = {"specificity_best": ("best concept", SERIES[2]), "specificity": ("description", SERIES[0])}
    lines |= {"specificity_random": ("random concept", MUTED)}
    for network, style in (("trained", "-"), ("untrained", "--")):
        rows = table[table["network"] == network]
        for column, (label, color) in lines.items():
            name = label if network == "trained" else f"{label}, untrained"
            axes.plot(range(len(rows)), rows[column], style, color=color, marker="o", markersize=4, label=name)
    name_ticks(axes.xaxis, list(table["layer"].unique()), rotation=45, ha="right")
    axes.set(ylabel="share of the squared responses", ylim=(0, None))
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    return Picture("specificity", figure, "", "How far units respond to their own concept alone, by layer.")


@in_style
def set_picture(table: pd.DataFrame, confidence: float) -> Picture:
    """Size of the prediction sets by layer, and how often they hold the truly best concept."""
    figure, axes = new_axes(6.2, 4)
    below = axes.twinx()
    for number, (source, rows) in enumerate(table.groupby("source", sort=False)):
        places, color = range(len(rows)), SERIES[number]
        axes.plot(places, rows["size"], "o-", color=color, markersize=4, label=f"size, concepts by {source}")
        below.plot(places, rows["coverage"], "s:", color=color, markersize=3.5, label=f"coverage, by {source}")
    below.axhline(confidence, color=INK, linestyle="--", linewidth=0.9)
    name_ticks(axes.xaxis, list(table["layer"].unique()), rotation=45, ha="right")
    axes.set(ylabel="concepts in the set, mean", ylim=(0, None))
    below.set(ylabel="share of sets with the best concept", ylim=(0, 1.02))
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    return Picture("sets", figure, "", "Size and coverage of the sets of concepts that may be a unit's best, by layer.")


@in_style
def baseline_picture(table: pd.DataFrame, layer: str) -> Picture:
    """Held-out correlation of units with their description and with its rivals, by layer of the trained network."""
    figure, axes = new_axes(6.2, 4)
    rows = table[table["network"] == "trained"]
    lines = {"few_concepts": "few concepts (Lasso)", "one_concept": "one concept, by correlation"}
    lines |= {"description": "description", "like_unit": "description, on a like unit"}
    for number, (column, label) in enumerate(lines.items()):
        axes.plot(range(len(rows)), rows[f"{column}_clip"], "o-", color=SERIES[number], markersize=4, label=label)
    name_ticks(axes.xaxis, list(rows["layer"]), rotation=45, ha="right")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.axvline(list(rows["layer"]).index(layer), color=MUTED, linestyle=":", linewidth=1)
    axes.set(ylabel="correlation on held-out images, mean over units")
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    return Picture("baselines", figure, "", "How well units agree with descriptions and with simpler explanations.")
