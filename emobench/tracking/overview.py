"""What MLflow's UI shows beside the numbers: notes of runs, an experiment's description and its ready-made view."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from emobench.reporting.words import describe, signed

NOTE = "mlflow.note.content"
"""The tag whose Markdown MLflow's UI shows as a run's or an experiment's description."""
PAGE = "{page}"
"""Stands in a note for the address of the benchmark's page, which is known once its run is made."""
LINK = f"[The benchmark's page]({PAGE}) tells the whole result."
VIEW = "emobench"
"""Key of the view of the runs that an experiment offers: filter, order and columns."""
COLUMNS = (
    "metrics.`test_accuracy`",
    "metrics.`test_delta_accuracy`",
    "metrics.`test_holm_p`",
    "params.`arm`",
    "params.`tau`",
    "params.`factor`",
    "tags.`verdict`",
    "tags.`shown`",
)


def edit_note(row: Mapping[str, Any], verdict: Mapping[str, Any] | None) -> str:
    """What an edit is and what came of it, as Markdown.

    Args:
        row: of the configurations, on test.
        verdict: on test; None where the edit gets none.
    """
    what = f"{describe(pd.Series(row))}: {row['accuracy']:.2%} of the test images right."
    if verdict is None:
        return f"{what}\n\nNot judged: of every arm the edit best on validation is, and the paper's.\n\n{LINK}"
    delta, low, high = (100 * verdict[f"{name}_accuracy"] for name in ("delta", "ci_low", "ci_high"))
    judged = f"**Verdict: {verdict['verdict']}.** {signed(delta)} points (interval {signed(low)} to {signed(high)})"
    why = f" Why: {verdict['why']}." if isinstance(verdict.get("why"), str) and verdict["why"] else ""
    return f"{judged}, Holm p = {verdict['holm_p']:.2g}.{why}\n\n{what}\n\n{LINK}"


def benchmark_note(lead: str, more: Sequence[str], verdict: str | None) -> str:
    """The answer as Markdown, the verdict first."""
    first = [f"**Verdict: {verdict}.**"] if verdict else []
    return "\n\n".join([*first, f"**{lead}**", LINK, *more])


def experiment_tags(name: str, source: str, place: str) -> dict[str, str]:
    """Tags of a benchmark's experiment: MLflow opens it as machine learning, not as an app of a language model.

    Args:
        name: of the benchmark.
        source: of its images.
        place: address of the experiment's runs in the UI.
    """
    view = f"{place}?viewStateShareKey={VIEW}"
    text = (
        f"What the units of a facial-emotion network react to, and whether strengthening them helps: the benchmark "
        f"**{name}** of emobench, images: {source}.\n\n"
        f"[The edits with the columns that count]({view}), best on test first. Runs by `tags.kind`: *benchmark* (the "
        "answer, the page, all tables), nested in it *baseline*, *edit*, *dissection* (a layer described by a concept "
        "set and a similarity function) and *control* (random draws beside a judged edit). Judged edits have "
        "`tags.verdict`."
    )
    state = {
        "searchFilter": "tags.kind = 'edit'",
        "orderByKey": "metrics.`test_accuracy`",
        "orderByAsc": False,
        "selectedColumns": list(COLUMNS),
    }
    return {
        "mlflow.experimentKind": "custom_model_development",
        NOTE: text,
        f"mlflow.sharedViewState.{VIEW}": json.dumps(state),
        "benchmark": name,
        "images": source,
    }
