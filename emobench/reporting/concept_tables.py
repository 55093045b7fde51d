"""Each concept's classes by the map and by the CLIP, side by side: a table of the page, and what its figure shows."""

import numpy as np
import pandas as pd

from emobench.reporting.page_tables import NONE, Table, text
from emobench.reporting.results import Results

MOST_ROWS = 200


def mapped_classes(mapped: str) -> list[str]:
    """The classes of a cell of the column ``mapped``.

    >>> mapped_classes("sad|neutral"), mapped_classes("")
    (['sad', 'neutral'], [])
    """
    return mapped.split("|") if mapped else []


def ahead(row: pd.Series) -> float:
    """How far the nearest class's cosine lies above the best of the mapped ones; NaN where either is unknown."""
    mapped = [row.get(f"cosine_{name}", np.nan) for name in mapped_classes(row["mapped"])]
    return row[f"cosine_{row['nearest']}"] - max(mapped) if row["nearest"] and mapped else np.nan


def most_doubtful(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """As many rows of concept_classes.csv: all in their order, or those where map and CLIP differ most."""
    if len(table) <= count:
        return table
    by = table.apply(ahead, axis=1)
    return table.loc[by.sort_values(ascending=False, kind="stable", na_position="last").index[:count]]


def concept_classes_table(results: Results) -> Table:
    """Map and CLIP concept by concept, those that differ most first."""
    table = results.concept_classes
    shown = table.assign(ahead=table.apply(ahead, axis=1)).sort_values(
        "ahead", ascending=False, kind="stable", na_position="last"
    )
    agrees = {1.0: "yes", 0.0: "no"}
    rows = [
        [
            row["concept_set"],
            row["concept"],
            ", ".join(mapped_classes(row["mapped"])) or NONE,
            row["nearest"] or NONE,
            agrees.get(row["agrees"], NONE),
            text(row[f"cosine_{row['nearest']}"] if row["nearest"] else None, "{:.3f}"),
            text(row["ahead"], "{:.3f}"),
        ]
        for _, row in shown.head(MOST_ROWS).iterrows()
    ]
    less = (
        f" The first {MOST_ROWS} of {len(table):,}; all are in concept_classes.csv." if len(table) > MOST_ROWS else ""
    )
    head = ["concept set", "concept", "by the map", "by the CLIP", "agree", "cosine", "above the map's best"]
    return Table(f"Classes that concepts speak for, by the map and by the CLIP.{less}", head, rows, words=5)


def concept_text(results: Results) -> list[str]:
    """What to know before the figure and the table."""
    judged = results.concept_classes["agrees"].dropna()
    lead = (
        "Whether a description is right is counted by a map that says which classes each concept speaks for. The CLIP "
        "that names the units knows nothing of it: here the two are held against each other."
    )
    if not len(judged):
        return [lead, "No concept has both a mapped class and a class that the CLIP can be asked for."]
    return [lead, f"The CLIP's nearest class is one of the map's for {judged.sum():.0f} of {len(judged):,} concepts."]
