"""Logging a benchmark to MLflow: a parent run for the pipeline's result, a nested run for each record, none twice.

A parent is known by its tag ``hashes`` (with a digest of the results), a nested run by ``key``; a run that is finished
is never touched again, one that is not (the logging was interrupted) is completed.
"""

import json
import logging
import os
import re
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Read once, when mlflow is imported: from then on it would report its use.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
# A server that is down shall be told in seconds, not minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
# A bar for every small file says nothing, and the address of a thousandth run neither.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from sqlalchemy.exc import SQLAlchemyError

from emobench.errors import UserError
from emobench.progress import progress
from emobench.tracking.doubles import FINISHED, PARENT, forget, furthest, nested_runs, remove_artifacts
from emobench.tracking.overview import NOTE, PAGE, experiment_tags
from emobench.tracking.runs import OWN, RunRecord

THREADS = 8
"""How many runs are logged at once to a server; to SQLite one: it has one writer, others wait longer than they work."""


def repository_root(start: Path) -> Path:
    """The outermost folder above ``start`` with a ``.dvc``: `dvc exp run` works in temporary ones inside it."""
    folders = [folder for folder in (start.resolve(), *start.resolve().parents) if (folder / ".dvc").is_dir()]
    return folders[-1] if folders else start.resolve()


def store_uri(start: Path) -> str:
    """MLFLOW_TRACKING_URI, or mlflow.db in the repository's root.

    Raises:
        UserError: an address without its scheme, or a root that can't stand in one.
    """
    if given := os.environ.get("MLFLOW_TRACKING_URI"):
        if "://" not in given and given != "databricks":
            raise UserError(
                f"MLFLOW_TRACKING_URI is {given!r}, which has no scheme; expected http://HOST:PORT, or sqlite:///FILE"
            )
        return given
    root = repository_root(start)
    if odd := next((sign for sign in "?%" if sign in str(root)), None):
        raise UserError(
            f"the path {root} has a {odd!r}, with which MLflow takes another file for its store; rename the folder"
        )
    return f"sqlite:///{root / 'mlflow.db'}"


def log_tables(client: MlflowClient, uri: str, run: Run, tables: Mapping[str, pd.DataFrame]) -> None:
    """Logs tables anew: MLflow appends to one that is there, which an interrupted logging left, maybe torn."""
    left = client.list_artifacts(run.info.run_id, "tables")
    for item in left:
        remove_artifacts(uri, run, item.path)
    present = {item.path for item in client.list_artifacts(run.info.run_id, "tables")} if left else set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow asks pandas for columns of type object, which get strings too
        for name, table in tables.items():
            if f"tables/{name}.json" not in present:
                client.log_table(run.info.run_id, table, f"tables/{name}.json")


@contextmanager
def clear_errors(uri: str) -> Iterator[None]:
    """Turns what goes wrong with the store into one line that says where the results still are."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = " ".join(str(error).partition("[SQL")[0].split())
        # What the system said stands at the end.
        reason = reason if len(reason) < 300 else f"{reason[:100]} ... {reason[-195:]}"
        shown = re.sub(r"//([^:/@]*):[^@/]*@", r"//\1:***@", uri)
        raise UserError(
            f"MLflow store {shown} can't be used ({reason}); the results are on disk, run dvc repro track once it can"
        ) from error


class Tracker:
    """A store and the experiment in it that a benchmark is logged to.

    Args:
        uri: the store: sqlite:///..., http://..., ...
        experiment: name of the experiment; it is made if it doesn't exist.
        dataset: name and digest of the images, and a word on where they come from.
    """

    def __init__(self, uri: str, experiment: str, dataset: Mapping[str, str]) -> None:
        for name in ("alembic", "mlflow.store.db.utils", "mlflow.pyfunc"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.uri, self.client = uri, MlflowClient(uri, uri)
        self._drawing = threading.Lock()
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            # SQLite says nothing of files; MLflow's own choice would be the folder that happens to be current.
            beside = Path(uri.removeprefix("sqlite:///").partition("?")[0]).parent / "mlartifacts" / experiment
            place = str(beside) if uri.startswith("sqlite:///") else None
            self.experiment = self.client.create_experiment(experiment, artifact_location=place)
        else:
            self.experiment = found.experiment_id
        self.place = f"#/experiments/{self.experiment}/runs"
        held = found.tags if found else {}
        for name, value in experiment_tags(experiment, dataset["source"], self.place).items():
            if name not in held:  # what somebody wrote there stays
                self.client.set_experiment_tag(self.experiment, name, value)
        source = json.dumps({"source": dataset["source"]})
        self.dataset = DatasetInput(
            Dataset(dataset["name"], dataset["digest"][:36], "local", source),
            [InputTag("mlflow.data.context", "evaluation")],
        )

    def log(self, parent: RunRecord, children: Iterable[RunRecord], content: str) -> dict[str, Any]:
        """Logs what the store lacks of a benchmark.

        Returns:
            The ids: experiment, content, parent, and runs (by key).
        """
        found = furthest(self.client, self.experiment, self._benchmarks(parent.kind, content))
        hashes = json.dumps({"content": content, **parent.hashes})
        run = found or self._start(parent, {"hashes": hashes}, int(time.time() * 1000))
        there = nested_runs(self.client, self.experiment, run.info.run_id) if found else []
        # Of two of one key the finished one stays.
        there.sort(key=lambda child: child.info.status == FINISHED)
        nested = {child.data.tags["key"]: child for child in there}
        shared = {name: value for name, value in parent.tags.items() if name not in OWN} | {PARENT: run.info.run_id}
        page = f"{self.place}/{run.info.run_id}/artifacts/report/index.html"
        if run.info.status != FINISHED:
            # Threads that log a data set that the store doesn't know yet would each make it.
            self.client.log_inputs(run.info.run_id, [self.dataset])

        def child(numbered: tuple[int, RunRecord]) -> str:
            at, record = numbered
            made = nested.get(record.key)
            if made is None or made.info.status != FINISHED:
                # The UI shows the latest first: the benchmark, then its runs in their order.
                made = made or self._start(record, shared, run.info.start_time - at, page)
                self._finish(record, made)
            return made.info.run_id

        records = list(children)
        ids = dict(zip((record.key for record in records), self._each(child, records), strict=True))
        self._forget_doubles(parent, run, content, set(ids.values()))
        if run.info.status != FINISHED:
            log_tables(self.client, self.uri, run, parent.tables)
            self.client.set_tag(run.info.run_id, NOTE, parent.tags.get(NOTE, "").replace(PAGE, page))
            self._finish(parent, run)
        return {"experiment": self.experiment, "content": content, "parent": run.info.run_id, "runs": ids}

    def _benchmarks(self, kind: str, content: str) -> list[Run]:
        """The runs of a benchmark whose results have this digest: one, or more that a server made unasked."""
        query = f"tags.hashes LIKE '%{content}%' and tags.kind = '{kind}'"
        return list(self.client.search_runs([self.experiment], query))

    def _forget_doubles(self, parent: RunRecord, run: Run, content: str, wanted: set[str]) -> None:
        """Deletes what a server made twice; of SQLite an answer is never lost."""
        if self.uri.startswith("sqlite:"):
            return
        found = [*nested_runs(self.client, self.experiment, run.info.run_id), *self._benchmarks(parent.kind, content)]
        wanted = wanted | {run.info.run_id}
        doubles = [one for one in found if one.info.run_id not in wanted and one.info.status != FINISHED]
        forget(self.client, self.uri, doubles)

    def _each(self, log: Callable[[tuple[int, RunRecord]], str], records: list[RunRecord]) -> Iterator[str]:
        """The run of each record (its place from 1, itself), by several threads. After an error none is begun."""
        pool = ThreadPoolExecutor(1 if self.uri.startswith("sqlite:") else THREADS)
        failed = threading.Event()

        def unless_failed(numbered: tuple[int, RunRecord]) -> str:
            try:
                return "" if failed.is_set() else log(numbered)
            except BaseException:
                failed.set()
                raise

        try:
            runs = pool.map(unless_failed, enumerate(records, start=1))
            yield from progress(runs, total=len(records), desc="track", unit="run")
        finally:
            pool.shutdown(cancel_futures=True)

    def _start(self, record: RunRecord, tags: Mapping[str, str], at: int, page: str = "") -> Run:
        """Makes a run that can be found again by its tags, whatever happens next. It starts ``at`` milliseconds."""
        tags = {**tags, **record.tags, "key": record.key, "kind": record.kind}
        if note := tags.pop(NOTE, ""):
            tags |= {NOTE: note.replace(PAGE, page)} if page else {}
        return self.client.create_run(self.experiment, at, tags, record.name or record.key.partition("/")[2])

    def _finish(self, record: RunRecord, run: Run) -> None:
        """Logs all of a record. The run's start is the time of every metric: logged again, they are the same ones."""
        at, run_id = run.info.start_time, run.info.run_id
        with self._drawing:  # Matplotlib draws in one thread at a time
            files = record.files | {name: draw() for name, draw in record.pictures.items()}
        if files:
            with tempfile.TemporaryDirectory() as folder:
                for name, data in files.items():
                    Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
                    Path(folder, name).write_bytes(data)
                # The client would read the whole run to find this place.
                get_artifact_repository(run.info.artifact_uri, tracking_uri=self.uri).log_artifacts(folder)
        metrics = [Metric(name, value, at, 0) for name, value in (record.metrics | record.system).items()]
        params = [Param(name, value) for name, value in record.params.items()]
        # One batch: it takes 100 params and 1,000 entities, a record has at most 60 of each (runs.MOST).
        self.client.log_batch(run_id, metrics, params)
        if record.kind == "benchmark" or "shown" in record.tags:
            # Each costs a tenth of a run; the others are of the same images, and are found below the benchmark's run.
            self.client.log_inputs(run_id, [self.dataset])
        self.client.set_terminated(run_id, FINISHED)
