"""Stage track: logs the benchmark to MLflow, once, and registers its best networks."""

import tempfile
from pathlib import Path

from emobench.files import write_json
from emobench.layout import Layout
from emobench.params import Params
from emobench.reporting.results import Results
from emobench.reporting.summary import answer
from emobench.tracking import model_registry
from emobench.tracking import tracker as log
from emobench.tracking.runs import benchmark_record, run_records

PRESENTATION = ("report.", "track.")
"""Params that change how results are shown, not the results."""


def run(params: Params, layout: Layout) -> None:
    """Logs what the store lacks; writes the ids of runs and versions. A second time it logs nothing."""
    results = Results(params, layout)
    records = list(run_records(results))
    dataset = {"name": params.name, "digest": results.imageset.digest(), "source": params.data.source}
    tags = {"preset": params.name, "dataset_sha256": dataset["digest"], **log.git_tags(layout.root)}
    if (lock := log.lock_digest(layout.root)) is not None:
        tags["dvc_lock"] = lock
    words = answer(results)
    parent = benchmark_record(results, "\n\n".join([f"**{words.lead}**", *words.more]), tags)
    settings = {name: value for name, value in parent.params.items() if not name.startswith(PRESENTATION)}
    content = log.content_digest(records, settings, parent.metrics, dataset)
    uri = log.store_uri(layout.root)
    with tempfile.TemporaryDirectory() as folder:
        networks = model_registry.entries(results, Path(folder))
        with log.clear_errors(uri), log.one_at_a_time(uri):
            tracker = log.Tracker(uri, params.name, dataset)
            logged = tracker.log(parent, records, content)
            versions = model_registry.register(
                tracker.client, tracker.experiment, params.name, networks, logged["runs"]
            )
    write_json(layout.artifacts / "mlflow.json", logged | {"versions": versions})
