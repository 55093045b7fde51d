"""Logging a benchmark to MLflow: a parent run for the pipeline's result, a nested run for each record, none twice.

A parent is known by the tag ``content`` (a digest of the results), a nested run by ``key``; a run that is finished is
never touched again, one that is not (the logging was interrupted) is completed.
"""

import hashlib
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
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

import yaml
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from sqlalchemy.exc import SQLAlchemyError

from emobench.errors import UserError
from emobench.progress import progress
from emobench.tracking.runs import OWN, RunRecord

PARENT = "mlflow.parentRunId"
FINISHED = "FINISHED"
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


def lock_digest(folder: Path) -> str | None:
    """sha256 of dvc.lock without the entry of the stage that logs; None without a lock."""
    try:
        lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    lock.get("stages", {}).pop("track", None)
    return hashlib.sha256(json.dumps(lock, sort_keys=True).encode()).hexdigest()


def git_tags(folder: Path) -> dict[str, str]:
    """The commit that the results come from and whether files differ from it; nothing outside a git repository."""
    texts = []
    for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            done = subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return {}
        texts.append(done.stdout.strip())
    return {"mlflow.source.git.commit": texts[0], "git_commit": texts[0], "git_changed": str(bool(texts[1])).lower()}


def content_digest(records: Iterable[RunRecord], *more: Any) -> str:
    """sha256 over what would be logged, without pictures: another matplotlib draws the same numbers otherwise."""
    digest = hashlib.sha256(json.dumps(more, sort_keys=True).encode())
    for record in records:
        files = {name: hashlib.sha256(data).hexdigest() for name, data in record.files.items()}
        values = (record.key, record.params, record.metrics, record.tags, files)
        digest.update(json.dumps(values, sort_keys=True).encode())
    return digest.hexdigest()


@contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Lets processes that log to one SQLite file do it in turns: both would make its tables, and a benchmark's runs."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    import fcntl

    store = Path(uri.removeprefix("sqlite:///").partition("?")[0])
    store.parent.mkdir(parents=True, exist_ok=True)
    # The lock ends with its process; the file stays, or two might lock different ones.
    with open(store.with_name(f"{store.name}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"track: another process logs to {store}; waiting for it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
        source = json.dumps({"source": dataset["source"]})
        self.dataset = DatasetInput(
            Dataset(dataset["name"], dataset["digest"][:36], "local", source),
            [InputTag("mlflow.data.context", "evaluation")],
        )

    def runs(self, **tags: str) -> list[Run]:
        """The runs that carry these tags, all pages of them."""
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found: list[Run] = []
        token = None
        while True:
            page = self.client.search_runs([self.experiment], query, max_results=1000, page_token=token)
            found += page
            if not (token := page.token):
                return found

    def log(self, parent: RunRecord, children: Iterable[RunRecord], content: str) -> dict[str, Any]:
        """Logs what the store lacks of a benchmark.

        Returns:
            The ids: experiment, content, parent, and runs (by key).
        """
        found = self.runs(content=content, kind=parent.kind)
        run = found[0] if found else self._start(parent, {"content": content})
        nested = {child.data.tags["key"]: child for child in self.runs(**{PARENT: run.info.run_id})} if found else {}
        shared = {name: value for name, value in parent.tags.items() if name not in OWN} | {PARENT: run.info.run_id}
        if run.info.status != FINISHED:
            # Threads that log a data set that the store doesn't know yet would each make it.
            self.client.log_inputs(run.info.run_id, [self.dataset])

        def child(record: RunRecord) -> str:
            made = nested.get(record.key)
            if made is None or made.info.status != FINISHED:
                made = made or self._start(record, shared)
                self._finish(record, made)
            return made.info.run_id

        ids = dict(self._each(child, list(children)))
        if run.info.status != FINISHED:
            self._finish(parent, run)
        return {"experiment": self.experiment, "content": content, "parent": run.info.run_id, "runs": ids}

    def _each(self, log: Callable[[RunRecord], str], records: list[RunRecord]) -> Iterator[tuple[str, str]]:
        """Key and run of each record, logged by several threads. After an error nothing more is begun."""
        pool = ThreadPoolExecutor(1 if self.uri.startswith("sqlite:") else THREADS)
        failed = threading.Event()

        def unless_failed(record: RunRecord) -> str:
            try:
                return "" if failed.is_set() else log(record)
            except BaseException:
                failed.set()
                raise

        try:
            done = progress(pool.map(unless_failed, records), total=len(records), desc="track", unit="run")
            yield from zip((record.key for record in records), done, strict=True)
        finally:
            pool.shutdown(cancel_futures=True)

    def _start(self, record: RunRecord, tags: Mapping[str, str]) -> Run:
        """Makes a run that can be found again by its tags, whatever happens next."""
        tags = {**tags, **record.tags, "key": record.key, "kind": record.kind}
        name = record.key.partition("/")[2] or record.key
        return self.client.create_run(self.experiment, int(time.time() * 1000), tags, name)

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
        metrics = [Metric(name, value, at, 0) for name, value in record.metrics.items()]
        params = [Param(name, value) for name, value in record.params.items()]
        # A batch takes 100 params, and 1,000 entities in all.
        for first in range(0, max(len(params), 1), 100):
            self.client.log_batch(run_id, metrics if first == 0 else [], params[first : first + 100])
        self.client.log_inputs(run_id, [self.dataset])
        self.client.set_terminated(run_id, FINISHED)
