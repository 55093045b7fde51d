"""The figures of the edits: what each one changed against the baseline. In points (hundredths), blue is better."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from emobench.edits.family import PAPER_ARM
from emobench.reporting.figures.style import (
    BLACK,
    GRID,
    LUMA,
    MUTED,
    WHITE,
    Picture,
    in_style,
    name_ticks,
    new_axes,
    stretched,
)
from emobench.reporting.published import PUBLISHED_CLASSES, published_matrices
from emobench.reporting.results import IMAGE_SETS, Results
from emobench.reporting.tables import differences
from emobench.reporting.words import plain, short_name, signed

BETTER, BLUES = matplotlib.colormaps["RdBu"], matplotlib.colormaps["Blues"]
MOST_NUMBERS = 16
"""Classes up to which the cells of a confusion matrix have room for numbers."""
HEAT_SETS = ("val", "test", "val_test")


def draw(results: Results) -> list[Picture]:
    """All figures of this module."""
    return [*heat_maps(results), *confusion_matrices(results)]


@in_style
def heat_maps(results: Results) -> list[Picture]:
    """The paper's grid: change of accuracy over tau and factor, a picture an image set, all on one colour scale."""
    edits = {images: differences(results, images) for images in HEAT_SETS if images in results.image_sets}
    grids = {images: table[table["arm"] == PAPER_ARM] for images, table in edits.items()}
    sizes = np.concatenate([grid["points"].abs() for grid in grids.values()])
    # Cells far from the baseline would flatten the scale around zero, where the question lies: they saturate instead.
    limit = float(np.clip(np.quantile(sizes, 0.6), 0.3, 5)) if sizes.size else 1.0
    return [_heat_map(results, images, grid, limit) for images, grid in grids.items() if not grid.empty]


def _heat_map(results: Results, images: str, grid: pd.DataFrame, limit: float) -> Picture:
    taus, factors = sorted(grid["tau"].unique()), sorted(grid["factor"].unique())
    figure, axes = new_axes(4.6, 1.2 + 0.32 * len(taus))
    for cell in grid.itertuples():
        corner = (factors.index(cell.factor), taus.index(cell.tau))
        color = BETTER(0.5 + 0.5 * np.clip(cell.points / limit, -1, 1))
        degenerate = cell.status == "degenerate"
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=GRID if degenerate else color, edgecolor=WHITE, linewidth=1))
        text = MUTED if degenerate else WHITE if np.dot(color[:3], LUMA) < 0.5 else BLACK
        axes.text(corner[0] + 0.5, corner[1] + 0.5, signed(cell.points), color=text, ha="center", va="center", size=9)
    for config_id, style in ((results.paper_id, "-"), (results.chosen_id, ":")):
        for cell in grid[grid["config_id"] == config_id].itertuples():
            corner = (factors.index(cell.factor), taus.index(cell.tau))
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=BLACK, linewidth=2.2, linestyle=style))
    axes.set_xticks(np.arange(len(factors)) + 0.5, [f"{factor:g}" for factor in factors])
    axes.set_yticks(np.arange(len(taus)) + 0.5, [plain(tau) for tau in taus])
    axes.set(xlim=(0, len(factors)), ylim=(len(taus), 0), xlabel="factor", ylabel="τ", title=short_name(images))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    # Few colours: matplotlib makes a picture of pixels out of a bar of more than 50.
    bar = ScalarMappable(Normalize(-limit, limit), BETTER.resampled(32))
    figure.colorbar(bar, ax=axes, orientation="horizontal", aspect=40, extend="both", label="points", pad=0.02)
    base, best = results.config(results.baseline_id, images)["accuracy"], grid.loc[grid["points"].idxmax()]
    at = f"{signed(best['points'])} at τ {plain(best['tau'])}, factor {best['factor']:g}"
    best_is = f"Best: {at}." if best["points"] > 0 else "No cell does better than the unchanged network."
    return Picture(
        f"grid_{images}",
        figure,
        f"The paper's grid on {IMAGE_SETS[images]}: points against {base:.2%}. {best_is}",
        f"Heat map of the change of accuracy over tau and factor on {IMAGE_SETS[images]}.",
    )


def _write(axes: Axes, row: int, column: int, shade: tuple[float, ...], number: str, below: str) -> None:
    """A number in a cell, and a smaller one below it, in the colour that can be read on the cell's."""
    color = WHITE if np.dot(shade[:3], LUMA) < 0.5 else BLACK
    place: dict[str, Any] = {"x": column + 0.5, "ha": "center", "va": "center", "color": color}
    axes.text(y=row + 0.38, s=number, size=9.5, **place)
    axes.text(y=row + 0.72, s=below, size=7.5, **place)


def confusion_matrices(results: Results) -> list[Picture]:
    """Confusion matrices on test: the baseline's, and the shown edits' as changes; beside them the published."""
    base = results.confusion(results.baseline_id)
    pictures = [confusion_picture("confusion_baseline", "baseline", results.classes, base)]
    for name, config_id in results.shown_edits().items():
        key = "chosen" if config_id == results.chosen_id else "paper"
        pictures.append(
            confusion_picture(f"confusion_{key}", name, results.classes, results.confusion(config_id), base)
        )
    if results.published is not None:
        before, after = published_matrices()
        pictures.append(
            confusion_picture(
                "confusion_published", "edit as published", PUBLISHED_CLASSES, after, before, of="val and test"
            )
        )
    return pictures


@in_style
def confusion_picture(
    name: str, title: str, classes: Sequence[str], counts: np.ndarray, base: np.ndarray | None = None,
    *, of: str = "test",
) -> Picture:  # fmt: skip
    """One confusion matrix (classes, classes): counts, coloured by share of the row or, given a base, by change.

    ``of``: which images they are.
    """
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    change = np.zeros_like(counts) if base is None else counts - base
    # On the diagonal more is better, elsewhere fewer: blue is better everywhere.
    good = np.where(np.eye(len(counts), dtype=bool), change, -change) / max(np.abs(change).max(), 1)
    figure, axes = new_axes(stretched(4.6, len(counts), 9), stretched(4.5, len(counts), 9))
    for row, column in np.ndindex(*counts.shape):
        shade = BLUES(0.05 + 0.9 * shares[row, column]) if base is None else BETTER(0.5 + 0.45 * good[row, column])
        axes.add_patch(Rectangle((column, row), 1, 1, facecolor=shade, edgecolor=WHITE, linewidth=1))
        moves = signed(float(change[row, column]), 0) if change[row, column] else ""
        if len(counts) <= MOST_NUMBERS:
            below = moves if base is not None else f"{shares[row, column]:.0%}"
            _write(axes, row, column, shade, f"{counts[row, column]}", below)
    middles = np.arange(len(counts)) + 0.5
    name_ticks(axes.xaxis, classes, middles, rotation=45, ha="right")
    name_ticks(axes.yaxis, classes, middles)
    axes.set(xlim=(0, len(counts)), ylim=(len(counts), 0), xlabel="predicted", ylabel="true", title=title)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    right, total = np.trace(counts), counts.sum()
    moved = "" if base is None else f", {signed(np.trace(counts) - np.trace(base), 0)} against the baseline"
    below = "share of the row" if base is None else "change against the baseline, blue is better"
    caption = f"{title.capitalize()}: {right:,} of {total:,} {of} images right{moved}. Small figures: {below}."
    return Picture(name, figure, caption, f"Confusion matrix on {of}, {title}: {right} of {total} on the diagonal.")
