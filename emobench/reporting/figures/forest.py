"""The forest plot of a study: the difference on each benchmark with its interval, and the pooled ones below."""

from collections.abc import Mapping, Sequence
from typing import Any

from emobench.reporting.figures.style import (
    GRID,
    INK,
    MUTED,
    SERIES,
    Picture,
    in_style,
    name_ticks,
    new_axes,
    stretched,
)

COLORS = {"improves": SERIES[2], "harms": SERIES[1], "no evidence": SERIES[0]}
DIAMOND = 0.28
"""Half its height, in rows."""


@in_style
def forest(
    rows: Sequence[Mapping[str, Any]], pools: Sequence[Mapping[str, Any]], margin: float, confidence: float
) -> Picture:
    """Draws a study.

    Args:
        rows: of each benchmark ``benchmark``, ``points``, ``low``, ``high`` and what is ``told`` of it.
        pools: ``scope``, ``points``, ``low`` and ``high``, and of the last one also ``new_low`` and ``new_high``.
        margin: the least gain worth having, in points.
        confidence: of the intervals.
    """
    count = len(rows) + len(pools)
    figure, axes = new_axes(6.4, 1.2 + stretched(0.34 * 8, count, 8))
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.axvline(margin, color=MUTED, linestyle=":", linewidth=1.2)
    for place, row in enumerate(rows):
        color = COLORS[row["told"]]
        axes.plot([row["low"], row["high"]], [place, place], color=color, linewidth=1.6)
        axes.plot(row["points"], place, "s", color=color, markersize=6)
    for place, row in enumerate(pools, start=len(rows)):
        across = [row["low"], row["points"], row["high"], row["points"]]
        axes.fill(
            across, [place, place - DIAMOND, place, place + DIAMOND], color=MUTED if row is not pools[-1] else INK
        )
    if pools and "new_low" in pools[-1]:
        axes.plot([pools[-1]["new_low"], pools[-1]["new_high"]], [count - 1] * 2, color=INK, linewidth=0.9)
    for name, color in COLORS.items():
        if any(row["told"] == name for row in rows):
            axes.plot([], [], "s-", color=color, label=name)
    axes.axhline(len(rows) - 0.5, color=GRID, linewidth=0.8)
    name_ticks(axes.yaxis, [str(row["benchmark"]) for row in rows] + [str(row["scope"]) for row in pools])
    axes.set(xlabel="difference in accuracy, points on test", ylim=(count - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    figure.legend(loc="outside upper center", ncols=3)
    caption = (
        f"The difference that the edit makes on each benchmark with its {confidence:.0%} interval; diamonds: pooled by "
        "random effects, the line through the last one: where the next network's may lie. Dotted: the least gain worth "
        "having."
    )
    return Picture("forest", figure, caption, "Forest plot of the differences on each benchmark and pooled.")
