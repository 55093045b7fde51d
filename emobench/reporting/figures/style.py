"""What every figure of the report shares: the house style, and how it becomes SVG or PNG.

Colours are the colour-blind-safe ones of Okabe and Ito (2008) and the diverging map RdBu. They and the greys are few,
fixed values, so that the page can replace them by its own for light and dark (see emobench.reporting.page).
"""

import functools
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

PAPER, INK, MUTED, GRID = "#fffffe", "#1b1f24", "#6a737d", "#d8dee4"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a6761d", "#56b4e9")
BLACK, WHITE, LUMA = "#000000", "#ffffff", (0.3, 0.59, 0.11)
"""Of cells, whose colours no theme changes; how bright red, green and blue are."""
MARKERS = "osD^vP"
MANY, MOST_NAMES, SMALLEST, LONGEST = 14, 40, 6, 25
"""From how many names on an axis they get smaller, how many it takes, the smallest font, characters of a name."""
FONTS = "'DejaVu Sans', Verdana, Arial, sans-serif"
STYLE: Any = {
    "svg.hashsalt": "emobench",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": PAPER,
    "legend.frameon": False,
}


@dataclass
class Picture:
    """A figure with its file name (no suffix), a caption that says what to see, and a text in its place."""

    name: str
    figure: Figure
    caption: str
    alt: str

    @property
    def wide(self) -> bool:
        """Whether the figure needs half a page rather than a third."""
        return self.figure.get_figwidth() > 5

    @functools.cached_property
    def svg(self) -> str:
        """The figure as SVG: the same bytes each time, no date in it, two decimals a coordinate."""
        text = io.StringIO()
        with matplotlib.rc_context(STYLE):
            self.figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        svg = text.getvalue().replace("'DejaVu Sans'", FONTS)
        return re.sub(r"<[^>]+>", lambda tag: re.sub(r"\d+\.\d{3,}", _rounded, tag[0]), svg)

    def png(self) -> bytes:
        """The figure as PNG, for viewers that show no SVG."""
        data = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            self.figure.savefig(data, format="png", dpi=120, metadata={"Software": None})
        return data.getvalue()

    def drawn(self) -> "Drawn":
        """What a page shows of it."""
        return Drawn(self.name, self.svg, self.caption, self.alt, self.wide)


@dataclass(frozen=True)
class Drawn:
    """A picture as SVG, without the figure that it was drawn from: what another process hands over."""

    name: str
    svg: str
    caption: str
    alt: str
    wide: bool


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def stretched(length: float, count: int, usual: int) -> float:
    """A height or width in inches: ``length`` for up to ``usual`` things, in proportion for more, twice at most."""
    return length * min(max(count / usual, 1.0), 2.0)


def name_ticks(
    axis: Axis, names: Sequence[str], places: Sequence[float] | np.ndarray | None = None, **style: Any
) -> None:
    """Names places on an axis, 0, 1, 2, ... by default: many of them smaller, of very many every second or third."""
    step = -(-len(names) // MOST_NAMES)
    size = max(SMALLEST, STYLE["font.size"] - max(0, len(names) - MANY) / 6)
    short = [name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}" for name in names]
    places = range(len(names)) if places is None else places
    axis.set_ticks(places[::step], short[::step], fontsize=size, **style)


def in_style(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: draws with the house style and leaves matplotlib's own settings as they were."""

    @functools.wraps(draw)
    def styled(*args: Any, **options: Any) -> Any:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **options)

    return styled


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of that many inches with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()
