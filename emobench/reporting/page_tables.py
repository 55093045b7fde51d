"""The page's tables: plain text cells, ready to be shown."""

import math
from collections.abc import Container, Iterator, Mapping
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
    wraps. ``folded``: whether the page shows it only when asked, under the caption's first sentence. ``file``: the
    report's file that holds its exact numbers; empty without one.
    """

    caption: str
    head: list[str]
    rows: list[list[str]]
    words: int = 1
    note: bool = False
    folded: bool = False
    file: str = ""

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


def metrics_table(metrics: Mapping[str, Any]) -> Table:
    """The unedited network's metrics: a row a metric, a column an image set."""
    sets = {name: values for name, values in metrics.items() if isinstance(values, Mapping)}
    rows = [
        [metric.replace("_", " "), *(_number(values.get(metric)) for values in sets.values())]
        for metric in dict.fromkeys(name for values in sets.values() for name in values)
    ]
    return Table("The network's metrics, unedited.", ["", *(name.replace("_", " ") for name in sets)], rows)


def audit_table(audit: Mapping[str, Any]) -> Table:
    """What the audit of the images counted: a row a finding, a column a split."""
    splits = ("total", "train", "val", "test")
    rows = [[name, *(_number(counts.get(split)) for split in splits)] for name, counts in _counts(audit, splits)]
    return Table("Audit of the images: how many of which kind.", ["", *splits], rows)


def _counts(values: Mapping[str, Any], splits: Container[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each finding with its counts by split; what isn't split stands under ``total``."""
    for key, value in values.items():
        name = key.replace("_", " ")
        if not isinstance(value, Mapping):
            yield name, {"total": ", ".join(map(str, value)) if isinstance(value, list) else value}
        elif any(isinstance(inner, Mapping) for inner in value.values()):
            kinds = dict.fromkeys(kind for inner in value.values() for kind in inner)
            for kind in kinds:
                yield f"{name}: {kind}".replace("_", " "), {split: inner.get(kind) for split, inner in value.items()}
        elif all(inner in splits for inner in value):
            yield name, value
        else:
            for kind, count in value.items():
                yield name if kind == "total" else f"{name}: {kind}".replace("_", " "), {"total": count}


def _number(value: Any) -> str:
    form = "{:.4g}" if isinstance(value, float) else "{:,}" if type(value) is int else "{}"
    return text(value if value != "" else None, form)
