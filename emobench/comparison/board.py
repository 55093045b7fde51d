"""The leaderboard as people read it: a heading a benchmark over a table of 80 columns, or a table for a paper."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from emobench.settings.results import CROSS_FITTED

WIDTH = 80
GAP = "  "
MARK = " *"
NOTE = "* the paper's own edit"
FOLDED = " +"
FOLDED_NOTE = "+ of val and test together, by folds: not held against the baseline of test"
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
    parts = [f"{_heading(group)}\n{_table(group, metric)}" for group in groups.values()]
    notes = [note for note, marked in ((NOTE, _published), (FOLDED_NOTE, _folded)) if any(map(marked, rows))]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


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
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    widths[0] = min(widths[0], max(WIDTH - sum(widths[1:]) - len(GAP) * (len(heads) - 1), NARROWEST))
    lines = [_line(heads, widths), GAP.join("-" * width for width in widths)]
    for first, *others in cells:
        start, *rest = textwrap.wrap(first, widths[0])
        lines += [_line([start, *others], widths), *(f"  {part}" for part in rest)]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Words to the left, which are the first and the last; numbers to the right."""
    first, *numbers, last = zip(cells, widths, strict=True)
    aligned = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in numbers), last[0]]
    return GAP.join(aligned).rstrip()


def _heads(metric: str | None) -> list[str]:
    return [*HEADS[:2], *([metric] if metric else []), *HEADS[2:]]


def _cells(row: Row, metric: str | None) -> list[str]:
    """Edit, accuracy, the metric, points with their interval, corrected p, verdict."""
    low, high, delta, p = (row[name] for name in ("low_points", "high_points", "delta_points", "holm_p"))
    interval = "" if low is None or high is None else f" [{low:+.2f}, {high:+.2f}]"
    more = [] if metric is None else ["" if row[metric] is None else f"{row[metric]:.4g}"]
    points = "" if delta is None else f"{delta:+.2f}{interval}"
    verdict = (row["verdict"] or "").partition(" (")[0]
    return [
        row["edit"] + MARK * _published(row) + FOLDED * _folded(row),
        f"{row['accuracy']:.2%}",
        *more,
        points,
        "" if p is None else f"{p:.2g}",
        verdict,
    ]


def _published(row: Row) -> bool:
    return "paper" in (row["selected_on"] or "")


def _folded(row: Row) -> bool:
    return row["selected_on"] == CROSS_FITTED
