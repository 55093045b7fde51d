"""Tracking with a real server: `mlflow server`, its backend in PostgreSQL, its artifacts in a folder."""

import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from programs import free_port, mlflow_process, mlflow_program, running, wait_for
from reporting.small_tracked import write_tracked

from emobench.errors import UserError
from emobench.reporting.results import Results
from emobench.stages import track
from emobench.tracking.model_registry import mlflow  # not before emobench: it would report its use
from emobench.tracking.runs import run_records
from emobench.tracking.tracker import MlflowClient

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*"),
]
QUICK = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB", "listen_addresses="]


def program(name: str) -> str:
    """A program of PostgreSQL: on the PATH, or where Debian puts it."""
    found = shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))), None)
    if found is None:
        pytest.skip(f"PostgreSQL is not installed: no {name} on the PATH or under /usr/lib/postgresql")
    return found


def somebody_else() -> dict[str, str]:
    """As whom PostgreSQL is run: it refuses to be root."""
    if os.geteuid() != 0:
        return {}
    known = {one.pw_name for one in pwd.getpwall()}
    name = next((name for name in ("postgres", "nobody") if name in known), None)
    if name is None:
        pytest.skip("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}


@contextmanager
def postgresql(log: Path) -> Iterator[str]:
    """A database cluster of its own, reached by a socket; yields its address."""
    psycopg2 = pytest.importorskip("psycopg2")
    initdb, postgres, user = program("initdb"), program("postgres"), somebody_else()
    # Not below tmp_path, which only its owner may enter; and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        if user:
            shutil.chown(folder, user["user"], user["group"])
        setup = [
            initdb,
            "-D",
            f"{folder}/data",
            "-A",
            "trust",
            "-U",
            "emobench",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        done = subprocess.run(setup, cwd=folder, capture_output=True, text=True, **user)
        assert done.returncode == 0, done.stdout + done.stderr
        settings = [word for one in QUICK for word in ("-c", one)]
        command = [postgres, "-D", f"{folder}/data", "-k", str(folder), *settings]
        where = {"host": str(folder), "user": "emobench", "dbname": "postgres"}

        def ready() -> bool:
            try:
                psycopg2.connect(**where).close()
            except psycopg2.OperationalError:
                return False
            return True

        # SIGINT is PostgreSQL's fast shutdown: it does not wait until everybody has left.
        with running(command, log, signal.SIGINT, cwd=folder, **user) as process:
            wait_for(ready, process, log)
            yield f"postgresql+psycopg2://emobench@/postgres?host={folder}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def everything(client: MlflowClient) -> tuple[dict, list[dict]]:
    """All runs by id and all versions."""
    experiment = client.get_experiment_by_name("small").experiment_id
    runs = {run.info.run_id: run.to_dictionary() for run in client.search_runs([experiment], max_results=1000)}
    return runs, [dict(one) for one in client.search_model_versions("name = 'small'")]


@contextmanager
def killed_at(process: subprocess.Popen, call: int) -> Iterator[None]:
    """The server is killed when so many runs were filled. Every run is made twice, as if first answers were lost."""
    batch, create, calls = MlflowClient.log_batch, MlflowClient.create_run, {"batch": 0, "create": 0}

    def log_batch(self, *args, **kwargs):
        calls["batch"] += 1
        if calls["batch"] == call:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return batch(self, *args, **kwargs)

    def create_run(self, *args, **kwargs):
        calls["create"] += 1
        create(self, *args, **kwargs)
        return create(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", log_batch)
        patch.setattr(MlflowClient, "create_run", create_run)
        yield
    assert calls["batch"] >= call
    assert calls["create"] > 3


def test_a_server_is_filled_once_after_it_was_down_and_after_it_was_killed(tmp_path, monkeypatch):
    params, layout = write_tracked(tmp_path)
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with ExitStack() as stack:
        # Named, since an earlier test may have named another one, which would go before the environment.
        stack.callback(mlflow.set_tracking_uri, mlflow.get_tracking_uri())
        mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")
        backend = stack.enter_context(postgresql(tmp_path / "postgres.txt"))
        with pytest.raises(UserError, match=f"^MLflow store http://127.0.0.1:{port} can't be used .*dvc repro track"):
            track.run(params, layout)
        assert not (layout.artifacts / "mlflow.json").exists()
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        place = ["--artifacts-destination", str(tmp_path / "artifacts")]
        failing = pytest.raises(UserError, match="can't be used .*dvc repro track")
        with mlflow_process("server", backend, tmp_path, *place, port=port) as server, killed_at(server, 5), failing:
            track.run(params, layout)
        assert not (layout.artifacts / "mlflow.json").exists()
        stack.enter_context(mlflow_program("server", backend, tmp_path, *place, port=port))
        track.run(params, layout)
        client = MlflowClient()
        check_runs(client, params, layout, tmp_path)
        check_registry(layout)
        before, written = everything(client), (layout.artifacts / "mlflow.json").read_bytes()
        track.run(params, layout)
        assert everything(client) == before
        assert (layout.artifacts / "mlflow.json").read_bytes() == written


def check_runs(client: MlflowClient, params, layout, folder: Path) -> None:
    results, ids = Results(params, layout), json.loads((layout.artifacts / "mlflow.json").read_text())
    records = {record.key: record for record in run_records(results)}
    runs, _ = everything(client)
    assert {run["info"]["status"] for run in runs.values()} == {"FINISHED"}
    assert runs.keys() == {ids["parent"], *ids["runs"].values()}
    for key, run_id in ids["runs"].items():
        assert runs[run_id]["data"]["metrics"] == pytest.approx(records[key].metrics)
    path = client.download_artifacts(ids["runs"]["baseline/baseline"], "confusion.json", str(folder))
    assert json.loads(Path(path).read_text())["test"] == results.confusion("baseline").tolist()
    stored = [path.parent.parent.name for path in (folder / "artifacts").rglob("confusion.json")]
    shown = [run_id for key, run_id in ids["runs"].items() if key.startswith(("baseline/", "edit/"))]
    assert sorted(stored) == sorted(shown)


def check_registry(layout) -> None:
    versions = json.loads((layout.artifacts / "mlflow.json").read_text())["versions"]
    assert versions == {"baseline": "1", "champion": "1"}
    pictures = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    answers = mlflow.pyfunc.load_model("models:/small@champion").predict(pictures)
    assert answers.shape == (3, 7)
    assert answers.sum(1) == pytest.approx(np.ones(3), abs=1e-5)
