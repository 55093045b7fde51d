"""A sweep on a local Dask cluster of several processes. Skipped where the extra ``cluster`` isn't installed."""

import logging
import os
import signal
import sys
import threading
import time

import pytest
import torch
from programs import free_port, running
from small_network import new_network

from emobench.errors import UserError
from emobench.sweeps import cluster as cluster_of_dask
from emobench.sweeps import suffix
from emobench.sweeps import tasks as sweep_tasks
from emobench.sweeps.sweep import sweep_outcomes


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("dask.distributed", reason="needs dask[distributed]: the extra cluster")
    options = {"processes": True, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with distributed.LocalCluster(n_workers=2, **options) as running:
        yield running


@pytest.fixture
def asked():
    generator = torch.Generator().manual_seed(0)
    return {
        "model": new_network(0.02, 0.2, seed=0).eval(),
        "layer": "lin1",
        "inputs": torch.rand(60, 1, 40, 40, generator=generator),
        "labels": torch.randint(7, (60,), generator=generator),
        "scales": torch.rand(9, 82, generator=generator) * 2,
        "memory_gib": 2,
    }


@pytest.fixture
def many_tasks(monkeypatch):
    monkeypatch.setattr(suffix, "BLOCK_IMAGES", 2)
    monkeypatch.setattr(sweep_tasks, "TASK_PRODUCTS", 1)
    monkeypatch.setattr(sweep_tasks, "PREFIX_SHARE", 1e9)


def kept(folder):
    return list(folder.rglob("*.safetensors"))


def dask(log, program, *options):
    command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *options, "--no-dashboard"]
    return running(command, log, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.usefixtures("many_tasks")
def test_nothing_is_lost_though_a_worker_is_killed(cluster, asked, tmp_path):
    whole, finished = sweep_outcomes(**asked), []

    def kill():
        while len(found := kept(tmp_path)) < 2:
            time.sleep(0.005)
        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
        finished.append(len(found))

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    found = sweep_outcomes(**asked, scheduler=cluster.scheduler_address, work=tmp_path)
    thread.join()
    assert found.predictions.tobytes() == whole.predictions.tobytes()
    assert found.nll.tobytes() == whole.nll.tobytes()
    assert finished[0] < len(kept(tmp_path))


@pytest.mark.slow
@pytest.mark.usefixtures("many_tasks")
def test_what_is_done_stays_though_the_scheduler_is_killed(asked, tmp_path, monkeypatch):
    pytest.importorskip("dask.distributed", reason="needs dask[distributed]: the extra cluster")
    monkeypatch.setattr(cluster_of_dask, "CONNECT_SECONDS", 20)
    address, work, logs = f"tcp://127.0.0.1:{free_port()}", tmp_path / "work", [tmp_path / "1.txt", tmp_path / "2.txt"]
    scheduler_options, worker_options = ["scheduler", "--host", address], ["worker", address, "--nthreads", "1"]
    with dask(logs[0], *scheduler_options) as scheduler, dask(logs[1], *worker_options):

        def kill():
            while len(kept(work)) < 2:
                time.sleep(0.005)
            monkeypatch.setattr(cluster_of_dask, "CONNECT_SECONDS", 1)
            scheduler.kill()

        threading.Thread(target=kill, daemon=True).start()
        with pytest.raises(UserError, match=f"no Dask scheduler answers at '{address}'"):
            sweep_outcomes(**asked, scheduler=address, work=work)
    before = len(kept(work))
    assert before >= 2
    found, whole = sweep_outcomes(**asked, work=work), sweep_outcomes(**asked)
    assert found.predictions.tobytes() == whole.predictions.tobytes()
    assert found.nll.tobytes() == whole.nll.tobytes()
    assert len(kept(work)) > before


def test_memory_counts_every_worker(cluster, asked):
    with pytest.raises(UserError, match=r"edit.memory_gib is 0.001; this sweep needs at least 0\.0"):
        sweep_outcomes(**asked | {"memory_gib": 0.001}, scheduler=cluster.scheduler_address)


def test_no_scheduler_answers(asked, monkeypatch):
    pytest.importorskip("dask.distributed", reason="needs dask[distributed]: the extra cluster")
    monkeypatch.setattr(cluster_of_dask, "CONNECT_SECONDS", 0.3)
    with pytest.raises(UserError, match="no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        sweep_outcomes(**asked, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(UserError, match="no Dask scheduler answers at 'nonsense'"):
        sweep_outcomes(**asked, scheduler="nonsense")


def test_a_cluster_without_workers(asked, monkeypatch):
    distributed = pytest.importorskip("dask.distributed", reason="needs dask[distributed]: the extra cluster")
    monkeypatch.setattr(cluster_of_dask, "WORKERS_SECONDS", 0.3)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty,
        pytest.raises(UserError, match="the cluster at .* has no worker"),
    ):
        sweep_outcomes(**asked, scheduler=empty.scheduler_address)


def test_dask_is_not_installed(asked, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(UserError, match=r"edit.scheduler needs Dask; install it: pip install 'emobench\[cluster\]'"):
        sweep_outcomes(**asked, scheduler="tcp://127.0.0.1:9")
