"""A side of a comparison that lies in MLflow: the run of a benchmark, of its baseline, or of an edit."""

import json
import tempfile
from pathlib import Path

from emobench.comparison.reports import Side, Source, current_name
from emobench.edits import predictions as answers
from emobench.errors import UserError
from emobench.reporting.results import IMAGE_SETS
from emobench.tracking.tracker import PARENT, MlflowClient, MlflowException, Run


def of_run(run_id: str, uri: str) -> Source:
    """An MLflow run: a benchmark's, its baseline's, or an edit's.

    Raises:
        UserError: no such store or run, or artifacts that can't be read.
    """
    path = Path(uri.removeprefix("sqlite:///").partition("?")[0])
    if uri.startswith("sqlite:///") and not path.is_file():
        raise UserError(f"no MLflow run {run_id}: there is no store {path}; run dvc repro track")
    client = MlflowClient(uri)
    try:
        run = client.get_run(run_id)
        benchmark = client.get_experiment(run.info.experiment_id).name
        return Source(f"MLflow run {run.info.run_name} ({run_id[:7]})", {benchmark: _run_side(client, run)}, False)
    except MlflowException as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"MLflow run {run_id} can't be read ({reason})") from None


def _run_side(client: MlflowClient, run: Run) -> Side:
    """Predictions lie with the benchmark's run, for all of its nested ones."""
    tags = run.data.tags
    parent = tags.get(PARENT, run.info.run_id)
    predictions, ids = (_artifact(client, parent, name) for name in answers.FILES)
    named = {"": run.data.params["config_id"]} if "config_id" in run.data.params else {}
    found, why = None, f"the run of the benchmark has no artifact {answers.FILES[0]}"
    if predictions and ids:
        found = answers.readable(lambda: answers.of_run(predictions, ids)[0], f"run {parent}")
        named = named or answers.of_run(predictions, ids)[1]
        named = {name: config_id for name, config_id in named.items() if config_id in found.config_ids}
        if not named:
            found, why = None, "the benchmark's run keeps no predictions of this network"
    measured = run.info.run_id if tags.get("kind") in ("baseline", "edit") else _baseline_run(client, run)
    matrices = json.loads((measured and _artifact(client, measured, "confusion.json")) or b"{}")
    sizes = {name: sum(map(sum, matrices[name])) for name in IMAGE_SETS if name in matrices}
    metrics = {current_name(name): value for name, value in run.data.metrics.items()}
    return Side(metrics, sizes, named, found, why, tags.get("limited") == "true")


def _baseline_run(client: MlflowClient, run: Run) -> str | None:
    """The nested run of a benchmark's baseline."""
    query = f"tags.`{PARENT}` = '{run.info.run_id}' and tags.kind = 'baseline'"
    found = client.search_runs([run.info.experiment_id], query, max_results=1)
    return found[0].info.run_id if found else None


def _artifact(client: MlflowClient, run_id: str, name: str) -> bytes | None:
    """The bytes of one of a run's artifacts; None if the run has none of that name."""
    if name not in {item.path for item in client.list_artifacts(run_id)}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run_id, name, folder)).read_bytes()
