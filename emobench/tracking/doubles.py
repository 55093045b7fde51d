"""Runs that a server made without being able to say so: asked again, it made others. They go, with what they hold."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
FINISHED = "FINISHED"


def nested_runs(client: "MlflowClient", experiment: str, parent: str) -> "list[Run]":
    """The nested runs of a run, all pages of them."""
    found: list[Run] = []
    token = None
    while True:
        query = f"tags.`{PARENT}` = '{parent}'"
        page = client.search_runs([experiment], query, max_results=1000, page_token=token)
        found += page
        if not (token := page.token):
            return found


def furthest(client: "MlflowClient", experiment: str, runs: "Sequence[Run]") -> "Run | None":
    """Of several runs of one benchmark the one that is finished, else the one with the most runs in it."""
    if len(runs) < 2:
        return next(iter(runs), None)
    return max(
        runs, key=lambda run: (run.info.status == FINISHED, len(nested_runs(client, experiment, run.info.run_id)))
    )


def remove_artifacts(uri: str, run: "Run", path: str | None = None) -> None:
    """Removes a file of a run, or all of its files, where the store's kind can."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with suppress(NotImplementedError, MlflowException):
        get_artifact_repository(run.info.artifact_uri, tracking_uri=uri).delete_artifacts(path)


def forget(client: "MlflowClient", uri: str, runs: "Iterable[Run]") -> None:
    """Deletes runs and the runs in them, first what they hold: a run that is gone is never looked at again."""
    for run in runs:
        forget(client, uri, nested_runs(client, run.info.experiment_id, run.info.run_id))
        remove_artifacts(uri, run)
        client.delete_run(run.info.run_id)
