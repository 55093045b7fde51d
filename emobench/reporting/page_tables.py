"""The page's tables: plain text cells, ready to be shown."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from emobench.reporting.results import Results

NONE = "–"
SHARE = "{:.1%}"


@dataclass(frozen=True)
class Table:
    """A caption, column heads, rows of text cells.

    ``words``: how many leading columns hold words, not numbers. ``note``: whether the last one is free text, which
    wraps. ``folded``: whether the page shows it only when asked, under the caption's first sentence.
    """

    caption: str
    head: list[str]
    rows: list[list[str]]
    words: int = 1
    note: bool = False
    folded: bool = False

    @property
    def title(self) -> str:
        """The caption's first sentence."""
        return self.caption.split(". ")[0].removesuffix(".")


def text(value: Any, form: str = "{}") -> str:
    """A cell: the value in a format, or a dash for None and NaN."""
    missing = value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
    return NONE if missing else form.format(value)


def ranking_table(results: Results) -> Table:
    """How well the CLIP ranks each concept on val."""
    found = results.plot("clip_concepts").sort_values("auroc", ascending=False, na_position="last", kind="stable")
    numbers = [name for name in found if name not in ("concept", "auroc")]
    rows = [
        [row["concept"], text(row["auroc"], "{:.3f}"), *(text(row[name]) for name in numbers)]
        for row in found.to_dict("records")
    ]
    return Table("How well the CLIP's plain cosine ranks each concept (AUROC).", ["concept", "AUROC", *numbers], rows)


def metrics_table(caption: str, metrics: Mapping[str, Any]) -> Table:
    """A metrics file as it is: nested names joined."""
    return Table(caption, ["", "value"], [[name, value] for name, value in _flat(metrics)])


def _flat(metrics: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    for name, value in metrics.items():
        path = f"{above}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}: ")
        elif isinstance(value, list):
            yield path, ", ".join(map(str, value)) or NONE
        else:
            yield path, text(value, "{:.4g}" if isinstance(value, float) else "{:,}" if type(value) is int else "{}")
