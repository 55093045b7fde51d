"""The reference of the tables, from what emobench.stored_tables checks when it reads them."""

import dataclasses

from emobench.quantities import bounds_of
from emobench.stored_tables import TABLES, Table

HEAD = """# Tables and columns

Every stage checks the tables that it reads: columns, types, ranges and keys, as they stand here. A table that is not
so is refused in one line that names the file and the column. No two rows share all parts of the key, and none of them
is empty. Tables have more columns than these; numbers with a known name (an accuracy, a p-value) are held to its range
wherever they stand.

*prepare* and *annotate* write to `data/<name>/`, the later stages to `artifacts/<name>/` as parquet; what people read
lies in `reports/<name>/` as csv.
"""
KINDS = {
    "key": "part of the key",
    "text": "text, may be empty",
    "number": "number",
    "flag": "true or false",
    "lists": "list",
}


def page() -> str:
    """All tables as Markdown."""
    return "\n".join([HEAD, *(_table(name, table) for name, table in TABLES.items())])


def _table(name: str, table: Table) -> str:
    """One table: who writes it, and its columns."""
    notes = [f"Written by the stage *{table.stage}*."]
    notes += ["It may have no row."] if table.empty else []
    notes += ["Every other column is a score from 0 to 1."] if table.scores else []
    notes += ["Only the keys must be there."] if table.loose else []
    notes += ["Its rows are joined by their keys, in whatever order they stand."] if table.joined else []
    rows = [
        (column, KINDS[field.name])
        for field in dataclasses.fields(Table)
        if field.name in KINDS
        for column in getattr(table, field.name)
    ]
    rows += [(column, "one of " + ", ".join(map(str, values))) for column, values in dict(table.among).items()]
    lines = [f"| `{column}` | {kind} | {_range(column) if kind == KINDS['number'] else ''} |" for column, kind in rows]
    return "\n".join(
        [f"## {name}\n", " ".join(notes) + "\n", "| column | what it holds | range |\n|---|---|---|", *lines, ""]
    )


def _range(column: str) -> str:
    bounds = bounds_of(column)
    if bounds is None:
        return ""
    low, high = (f"{value:g}".replace("-", "−").replace("inf", "∞") for value in bounds)
    return f"{low} to {high}"
