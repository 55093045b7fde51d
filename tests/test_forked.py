import os
import signal
import time
from multiprocessing import active_children
from pathlib import Path

import pytest

from emobench import forked as module
from emobench.errors import UserError
from emobench.forked import forked

HELD = {"base": 10, "asked": lambda value: value + 1}  # a function: nothing could pickle it


def add(held: dict, item: int) -> tuple[int, int]:
    return held["base"] + held["asked"](item), os.getpid()


def fail(held: dict, item: int) -> None:
    raise UserError(f"not {item}")


def die(held: dict, item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_file(held: Path, item: int) -> None:
    (held / str(os.getpid())).touch()
    time.sleep(600)


@pytest.fixture
def two_cores(monkeypatch) -> None:
    monkeypatch.setattr(module.joblib, "cpu_count", lambda: 2)


def test_results_come_in_order_from_processes_that_hold_what_cannot_be_pickled(two_cores) -> None:
    before = set(active_children())
    with forked(HELD, 2) as do:
        found = list(do(add, range(20)))
    assert [value for value, _ in found] == [11 + item for item in range(20)]
    assert os.getpid() not in {process for _, process in found}
    assert set(active_children()) <= before


@pytest.mark.parametrize("useful", [0, 1])
def test_without_use_for_a_second_process_there_is_none(two_cores, useful) -> None:
    with forked(HELD, useful) as do:
        assert list(do(add, [1])) == [(12, os.getpid())]


def test_without_fork_the_work_is_done_here(two_cores, monkeypatch) -> None:
    monkeypatch.setattr(module, "CAN_FORK", False)
    with forked(HELD, 2) as do:
        assert list(do(add, [1])) == [(12, os.getpid())]


def test_what_a_task_raises_comes_here(two_cores) -> None:
    with pytest.raises(UserError, match="not 3"), forked(HELD, 2) as do:
        list(do(fail, [3]))


def test_a_killed_process_is_one_line(two_cores) -> None:
    with pytest.raises(UserError, match="a process was killed, or ran out of memory"), forked(HELD, 2) as do:
        list(do(die, [1]))


def test_no_process_outlives_its_parent(two_cores, tmp_path) -> None:
    parent = os.fork()
    if not parent:  # pragma: no cover
        with forked(tmp_path, 2) as do:
            list(do(wait_for_file, [1]))
    while not (files := list(tmp_path.iterdir())):
        time.sleep(0.05)
    child = int(files[0].name)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            return
        time.sleep(0.1)
    raise AssertionError(f"{child} still runs")
