"""Names of runs. What tells a run from the others comes first: MLflow's tables and plots cut what doesn't fit."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

SHOWN = 24
"""Characters of a name that are seen everywhere; no two runs of a benchmark agree in them."""
OPERATIONS = {"rows": "", "rows_bias": "bias"}
"""How an edit's operation is called in a name; the published one goes without saying, others by their own name."""
PLACES = ("layer", "concept_set", "similarity_fn")


def edit_name(row: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """An edit in few words, such as ``similarity tau0.75 x2`` or ``angry bias x2 description``.

    Args:
        row: of the configurations.
        usual: the benchmark's most frequent layer, concept set and similarity function: only others are told.
    """
    told = {name: value for name, value in row.items() if pd.notna(value)}
    kind, _, detail = str(told.get("criterion", "")).partition(":")
    arm = str(row["arm"])
    searched = arm.startswith("search")
    words = [str(told[place]) for place in PLACES if place in told and told[place] != usual.get(place)]
    words.append(f"{kind} {detail}" if searched else detail or arm)
    operation = str(told.get("operation", ""))
    words.append(OPERATIONS.get(operation, operation))
    words += [f"{sign}{told[key]:g}" for key, sign in (("tau", "tau"), ("factor", "x")) if key in told]
    if searched or detail:
        words.append(arm)
    return " ".join(filter(None, words))


def distinct(names: Sequence[str]) -> list[str]:
    """The same names; those that agree in what is shown of them get their place in front."""
    heads = Counter(name[:SHOWN] for name in names)
    return [name if heads[name[:SHOWN]] == 1 else f"{at} {name}" for at, name in enumerate(names, start=1)]
