"""The figure of what the tests could have found: power against gain, with the observed gain drawn in."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from emobench.edits.family import LEVEL
from emobench.edits.power import POWER, level
from emobench.functional.power import gain_power
from emobench.reporting import tables
from emobench.reporting.figures.style import GRID, INK, MUTED, SERIES, Picture, in_style, new_axes
from emobench.reporting.results import Results
from emobench.reporting.words import signed

POINTS = 121
"""Gains at which a curve is drawn."""


def draw(results: Results) -> list[Picture]:
    """All figures of this module."""
    picture = power_curves(results)
    return [] if picture is None else [picture]


@in_style
def power_curves(results: Results) -> Picture | None:
    """Power of each judged edit's test on test, the shown edits in colour; None where no edit changes an answer."""
    judged = results.verdicts[results.verdicts["images"] == "test"].drop_duplicates("config_id")
    changing = judged[judged["gains"] + judged["losses"] > 0]
    if changing.empty:
        return None
    images = len(results.columns_of("test")[1])
    figure, axes = new_axes(4.6, 4.2)
    alpha, shown = level(len(judged)), results.shown_edits()
    needed = changing["detectable_points"].dropna()
    farthest = 1.3 * needed.max() if len(needed) else 100 * (changing["gains"] + changing["losses"]).max() / images
    for row in changing[~changing["config_id"].isin(shown.values())].to_dict("records"):
        _curve(axes, row, images, alpha, color=MUTED, linewidth=0.8)
    for number, (name, config_id) in enumerate(shown.items()):
        for row in changing[changing["config_id"] == config_id].to_dict("records"):
            label = f"{name}: {row['gains']:.0f} gained, {row['losses']:.0f} lost"
            _curve(axes, row, images, alpha, color=SERIES[number], linewidth=2, label=label)
            observed = 100 * row["delta_accuracy"]
            axes.axvline(observed, color=SERIES[number], linestyle=":", linewidth=1.4)
    axes.plot([], [], color=MUTED, linewidth=0.8, label="other judged edits")
    axes.axhline(POWER, color=INK, linestyle="--", linewidth=0.9)
    axes.axvline(0, color=GRID, linewidth=0.8)
    least = min(0.0, 100 * changing.loc[changing["config_id"].isin(shown.values()), "delta_accuracy"].min())
    axes.set(xlim=(1.1 * least - 0.02 * farthest, farthest), ylim=(-0.02, 1.02))
    axes.set(xlabel="gain, points on test", ylabel="probability that the test finds it")
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=1)
    return Picture("power", figure, _caption(results, judged, images), "Curves of power against gain for each edit.")


def powers_of(row: Mapping[str, Any], images: int, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The curve of one edit: gains as shares of the images, from 0 to all that it changes, and the power of each."""
    changed = int(row["gains"] + row["losses"])
    gains = np.linspace(0, changed, POINTS)
    return gains / images, gain_power(changed, gains, alpha=alpha)


def _curve(axes: Axes, row: Mapping[str, Any], images: int, alpha: float, **style: Any) -> None:
    gains, powers = powers_of(row, images, alpha)
    axes.plot(100 * gains, powers, **style)


def _caption(results: Results, judged: pd.DataFrame, images: int) -> str:
    text = (
        f"What could have been found: how likely the test of each edit, one of {len(judged)} by Holm's method at "
        f"{LEVEL:g}, finds a true gain among {images:,} test images, given how many answers the edit changes. Dotted: "
        f"the gain observed; dashed: {POWER:.0%}. A curve that stays at 0 changes too few answers."
    )
    if results.chosen_id is None:
        return text
    row = tables.verdict_of(results, results.chosen_id)
    if pd.isna(row["detectable_points"]):
        return text
    observed, needed = (signed(value) for value in (100 * row["delta_accuracy"], row["detectable_points"]))
    return f"{text} The chosen edit got {observed} points; {needed} would have been found with {POWER:.0%}."
