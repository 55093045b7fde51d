"""The leaderboard as people read it: a heading a benchmark over a table of 80 columns, or a table for a paper."""

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

WIDTH = 80
GAP = 2
"""Between columns."""
HEADS = ("edit", "accuracy", "points", "p, Holm", "verdict")
NARROWEST = 16
Row = Mapping[str, Any]


def by_benchmark(rows: Sequence[Row], metric: str | None = None) -> str:
    """A heading a benchmark, in the order of its best row, over its rows.

    Args:
        rows: of the leaderboard, best first.
        metric: a further one, by which they are sorted.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["benchmark"], []).append(row)
    return "\n\n".join(f"{_heading(group)}\n{_table(group, metric)}" for group in groups.values())


def as_latex(rows: Sequence[Row], metric: str | None = None) -> str:
    """One table in LaTeX, for the package booktabs; numbers as in :func:`by_benchmark`."""
    cells = [[row["benchmark"], row["layer"] or "", *_cells(row, metric)] for row in rows]
    heads = ["benchmark", "layer", *_heads(metric)]
    kinds = ["left"] * 3 + ["right"] * (len(heads) - 4) + ["left"]
    return tabulate(cells, heads, "latex_booktabs", disable_numparse=True, colalign=kinds)


def _heading(group: Sequence[Row]) -> str:
    layers = dict.fromkeys(row["layer"] for row in group if row["layer"])
    limited = " (data.limit: no number counts)" if group[0]["limited"] else ""
    return f"{group[0]['benchmark']}{limited}{': ' if layers else ''}{', '.join(layers)}"


def _table(group: Sequence[Row], metric: str | None) -> str:
    """Cells as wide as they need but for the first, which is broken where the table would be too wide."""
    cells, heads = [_cells(row, metric) for row in group], _heads(metric)
    needed = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    first = max(WIDTH - sum(needed[1:]) - GAP * (len(heads) - 1), NARROWEST)
    kinds = ["left"] + ["right"] * (len(heads) - 2) + ["left"]
    widths = [first] + [None] * (len(heads) - 1)
    return tabulate(cells, heads, "simple", disable_numparse=True, colalign=kinds, maxcolwidths=widths)


def _heads(metric: str | None) -> list[str]:
    return [*HEADS[:2], *([metric] if metric else []), *HEADS[2:]]


def _cells(row: Row, metric: str | None) -> list[str]:
    """Edit, accuracy, the metric, points with their interval, corrected p, verdict."""
    low, high, delta, p = (row[name] for name in ("low_points", "high_points", "delta_points", "holm_p"))
    published = "paper's: " if "paper" in (row["selected_on"] or "") else ""
    interval = "" if low is None or high is None else f" [{low:+.2f}, {high:+.2f}]"
    more = [] if metric is None else ["" if row[metric] is None else f"{row[metric]:.4g}"]
    points = "" if delta is None else f"{delta:+.2f}{interval}"
    verdict = (row["verdict"] or "").partition(" (")[0]
    return [published + row["edit"], f"{row['accuracy']:.2%}", *more, points, "" if p is None else f"{p:.2g}", verdict]
