"""Programs that tests start and talk to: in a process group of their own, and gone at the end."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE = 300
"""Seconds that a program gets to start; on an idle machine it needs few."""
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def running(command: list[str], log: Path, stop: int, **options) -> Iterator[subprocess.Popen]:
    """A program in a process group of its own that is gone at the end."""
    with open(log, "w") as out:
        started = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, **options)
    try:
        yield started
    finally:
        for number in (stop, signal.SIGKILL):
            if started.poll() is None:
                os.killpg(started.pid, number)
                try:
                    started.wait(60)
                except subprocess.TimeoutExpired:
                    continue


def wait_for(ready: Callable[[], bool], process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        if ready():
            return
        time.sleep(0.2)
    pytest.fail(f"{process.args[0]} did not start: {log.read_text()[-2000:]}")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


@contextmanager
def mlflow_process(name: str, backend: str, folder: Path, *options: str, port: int) -> Iterator[subprocess.Popen]:
    """`mlflow ui` or `mlflow server` on a store, with its log in ``folder``; yields its process when it answers."""
    command = [sys.executable, "-m", "mlflow", name, "--backend-store-uri", backend, "--workers", "1"]
    command += [*options, "--host", "127.0.0.1", "--port", str(port)]
    log, address = folder / f"{name}.txt", f"http://127.0.0.1:{port}"
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"} | QUIET
    with running(command, log, signal.SIGTERM, env=environment, cwd=folder) as process:
        wait_for(lambda: answers(f"{address}/health"), process, log)
        yield process


@contextmanager
def mlflow_program(name: str, backend: str, folder: Path, *options: str, port: int) -> Iterator[str]:
    """The same; yields its address."""
    with mlflow_process(name, backend, folder, *options, port=port):
        yield f"http://127.0.0.1:{port}"
