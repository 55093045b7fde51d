"""The report's heat maps of concept names by class names: what the map says of a concept, and what the CLIP does."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from emobench.reporting.concept_tables import mapped_classes, most_doubtful
from emobench.reporting.figures.style import (
    BLACK,
    GRID,
    LUMA,
    SERIES,
    WHITE,
    Picture,
    in_style,
    name_ticks,
    new_axes,
    stretched,
)
from emobench.reporting.results import Results

SHADES = matplotlib.colormaps["Blues"].resampled(24)
"""Of so many shades that the colour bar is made of shapes: of more matplotlib would make it a picture."""
MOST_CONCEPTS = 40


def draw(results: Results) -> list[Picture]:
    """A heat map for each concept set."""
    table = results.concept_classes
    names = [name for name in results.concept_sets if (table["concept_set"] == name).any()]
    return [
        heat_map(results, name, number, table[table["concept_set"] == name])
        for number, name in enumerate(names, start=1)
    ]


@in_style
def heat_map(results: Results, name: str, number: int, table: pd.DataFrame) -> Picture:
    """Cosines of one set's concepts (rows) and the classes, with frames for the map and dots for the CLIP's nearest."""
    shown, classes = most_doubtful(table, MOST_CONCEPTS), results.classes
    cosines = shown[[f"cosine_{label}" for label in classes]].to_numpy(float)
    known = cosines[np.isfinite(cosines)]
    scale = Normalize(*((known.min(), known.max()) if known.size else (0, 1)))
    figure, axes = new_axes(stretched(6, len(classes), 9), 1.7 + 0.24 * len(shown))
    for row, concept in enumerate(shown.itertuples(index=False)):
        mapped = mapped_classes(concept.mapped)
        for column, label in enumerate(classes):
            value = cosines[row, column]
            shade = SHADES(scale(value)) if np.isfinite(value) else matplotlib.colors.to_rgba(GRID)
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=shade, edgecolor=WHITE, linewidth=1))
            if label == concept.nearest:
                _dot(axes, column, row, shade, agrees=label in mapped or not mapped)
        # After all cells of the row, which would cover a frame's edge.
        for column in (classes.index(label) for label in mapped if label in classes):
            axes.add_patch(
                Rectangle((column + 0.05, row + 0.08), 0.9, 0.84, fill=False, edgecolor=BLACK, linewidth=1.6)
            )
    name_ticks(axes.xaxis, classes, np.arange(len(classes)) + 0.5, rotation=45, ha="right")
    name_ticks(axes.yaxis, shown["concept"].tolist(), np.arange(len(shown)) + 0.5)
    axes.set(xlim=(0, len(classes)), ylim=(len(shown), 0), title=name)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(ScalarMappable(scale, SHADES), ax=axes, shrink=0.6, aspect=30, pad=0.02)
    bar.set_label("cosine of the two names")
    bar.outline.set_visible(False)
    return Picture(f"concept_classes_{number}", figure, _caption(table, name, len(shown)), _in_words(shown, name))


def _dot(axes: Axes, column: int, row: int, shade: tuple[float, ...], *, agrees: bool) -> None:
    """Where the CLIP's nearest class is: in the cell's contrast colour, orange where the map says otherwise."""
    plain = WHITE if np.dot(shade[:3], LUMA) < 0.5 else BLACK
    face = plain if agrees else SERIES[1]
    axes.plot(column + 0.5, row + 0.5, "o", color=face, markersize=6, mec=WHITE, mew=0 if agrees else 1)


def _caption(table: pd.DataFrame, name: str, shown: int) -> str:
    judged = table["agrees"].dropna()
    counted = f"They agree for {judged.sum():.0f} of {len(judged)} concepts. " if len(judged) else ""
    less = f" Shown are the {shown} of {len(table):,} that say most, disagreements first." if shown < len(table) else ""
    return (
        f"Concept set {name}: frames are the classes that the map gives a concept, by which descriptions are counted "
        "right; the dot is the class whose name the CLIP finds nearest, orange where that is none of the map's. "
        f"{counted}Where they differ, a description can be right by the one and wrong by the other; a concept without "
        f"a frame is never counted.{less}"
    )


def _in_words(shown: pd.DataFrame, name: str) -> str:
    differ = shown[shown["agrees"] == 0].head(5)
    said = [
        f"{row.concept}: {row.nearest} by the CLIP, {' or '.join(mapped_classes(row.mapped))} by the map"
        for row in differ.itertuples()
    ]
    return f"Heat map of the cosines of concept names and class names, concept set {name}. " + "; ".join(said)
