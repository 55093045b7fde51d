"""Stage track: logs the benchmark to MLflow, once, and registers its best networks."""

import dataclasses
import tempfile
from pathlib import Path

from emobench.files import write_json
from emobench.forked import forked
from emobench.layout import Layout
from emobench.params import Params
from emobench.reporting import tables
from emobench.reporting.results import Results
from emobench.reporting.summary import answer
from emobench.tracking import model_registry
from emobench.tracking import tracker as log
from emobench.tracking.benchmark_run import benchmark_record, settings_of
from emobench.tracking.origin import content_digest, git_tags, lock_digest
from emobench.tracking.overview import benchmark_note
from emobench.tracking.pictures import drawn_beside
from emobench.tracking.runs import RunRecord, run_records
from emobench.tracking.turns import one_at_a_time

PRESENTATION = ("report.", "track.")
"""Params that change how results are shown, not the results."""


def run(params: Params, layout: Layout) -> None:
    """Logs what the store lacks; writes the ids of runs and versions. A second time it logs nothing."""
    results = Results(params, layout)
    records, dataset = run_records(results), _dataset(results)
    parent = _parent(results, dataset["digest"])
    settings = {name: value for name, value in settings_of(results).items() if not name.startswith(PRESENTATION)}
    content = content_digest(records, settings, parent.metrics, dataset)
    # Several benchmark runs of one experiment are told apart by the digest, what came of them next.
    parent = dataclasses.replace(parent, name=f"benchmark {content[:7]} {parent.tags.get('verdict', '')}".strip())
    uri = log.store_uri(layout.root)
    # SQLite's store has one writer, so that only the pictures can be made meanwhile.
    beside = 2 if any(record.pictures for record in records) else 0
    with forked(records, beside) as do, tempfile.TemporaryDirectory() as folder:
        networks = model_registry.entries(results, Path(folder))
        with log.clear_errors(uri), one_at_a_time(uri):
            tracker = log.Tracker(uri, params.name, dataset)
            logged = tracker.log(parent, drawn_beside(records, do), content)
            versions = model_registry.register(
                tracker.client, tracker.experiment, params.name, networks, logged["runs"]
            )
    write_json(layout.artifacts / "mlflow.json", logged | {"versions": versions})


def _dataset(results: Results) -> dict[str, str]:
    """The images as MLflow names a data set."""
    params = results.params
    return {"name": params.name, "digest": results.imageset.digest(), "source": params.data.source}


def _parent(results: Results, images: str) -> RunRecord:
    """The run of the whole benchmark: the answer, and what it comes from."""
    words, root = answer(results), results.layout.root
    hashes = {"images": images, "dvc_lock": lock_digest(root)}
    judged = None if results.chosen_id is None else tables.verdict_of(results, results.chosen_id)["verdict"]
    note = benchmark_note(words.lead, words.more, judged)
    tags = {"preset": results.params.name, "mlflow.source.name": "emobench track", **git_tags(root)}
    return benchmark_record(results, note, tags, {name: value for name, value in hashes.items() if value})
