"""Rows as text: an aligned table or Markdown for people, csv or json for programs."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from emobench.files import safe_cell

TABLE_STYLES = {"table": "simple", "md": "github"}


def listing(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], form: str) -> str:
    r"""Writes the columns of rows as text without a final newline.

    Numbers are in full in csv and json, and have 6 significant digits elsewhere. What is missing (None or NaN) is
    empty, and null in json.

    Args:
        rows: column -> value; a column that a row lacks is missing there.
        columns: which ones, in order.
        form: table, md, csv or json.

    >>> print(listing([{"a": 1.5, "b": None}], ["a", "b"], "md"))
    |   a | b   |
    |-----|-----|
    | 1.5 |     |
    >>> listing([{"a": 1.5, "b": None}], ["a", "b"], "csv")
    'a,b\n1.5,'
    """
    cells = [[_present(row.get(name)) for name in columns] for row in rows]
    if form == "json":
        return json.dumps([dict(zip(columns, row, strict=True)) for row in cells], indent=2)
    if form == "csv":
        text = io.StringIO()
        safe = ([safe_cell(cell) for cell in row] for row in cells)
        csv.writer(text, lineterminator="\n").writerows([columns, *safe])
        return text.getvalue().removesuffix("\n")
    return tabulate([[_shown(cell) for cell in row] for row in cells], columns, TABLE_STYLES[form], **_layout(cells))


def _layout(cells: list[list[Any]]) -> dict[str, Any]:
    """Numbers to the right. Said here: left to itself tabulate reads an id such as 1e5 as a number."""
    kinds = [{type(cell) for cell in column} - {type(None)} for column in zip(*cells, strict=True)]
    aligned = ["right" if found and found <= {int, float} else "left" for found in kinds]
    return {"disable_numparse": True} | ({"colalign": aligned} if cells else {})


def _present(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
