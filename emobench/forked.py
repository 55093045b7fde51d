"""Processes forked from this one: they hold what it holds, and start at once.

For short work on what is loaded already, where a fresh process would import for longer than it works. They must be made
before this one opens what a fork must not share, such as a connection to a database. Where the system can't fork, or
there is one core, the work is done here.
"""

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import joblib

from emobench.errors import UserError

Do = Callable[[Callable[[Any, Any], Any], Iterable[Any]], Iterator[Any]]
"""``do(task, items)`` yields ``task(held, item)`` of each item, in their order."""
CAN_FORK = sys.platform == "linux"
"""Elsewhere system libraries break in a forked process, or there is no fork."""

_held: Any = None


@contextmanager
def forked(held: Any, at_most: int) -> Iterator[Do]:
    """Yields a function that applies tasks to items in processes, one a core, that were forked at the start.

    Args:
        held: what every task gets first; it isn't pickled. Tasks, items and results are.
        at_most: how many processes are of use; below two there are none.

    Raises:
        UserError: one of them was killed.
    """
    global _held
    count = min(at_most, joblib.cpu_count()) if CAN_FORK else 1
    if count < 2:
        yield lambda task, items: (task(held, item) for item in items)
        return
    _held = held
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("fork"), _start)
    try:
        with warnings.catch_warnings():
            # The threads that watch memory and tell how far a stage is hold no lock that these processes take.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            pool.submit(os.getpid).result()
        yield lambda task, items: pool.map(_Task(task), items)
    except BrokenProcessPool as error:
        raise UserError("a process was killed, or ran out of memory; run the stage again") from error
    finally:
        pool.shutdown(cancel_futures=True)
        _held = None


class _Task:
    """A task on what the forked process holds."""

    def __init__(self, task: Callable[[Any, Any], Any]) -> None:
        self._task = task

    def __call__(self, item: Any) -> Any:
        return self._task(_held, item)


def _start() -> None:
    """One thread, since OpenMP's don't survive a fork; the parent alone answers Ctrl-C; and none outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
    end_with_parent()


def end_with_parent() -> None:
    """Has this process end with its parent, which may be killed without a word."""

    def follow() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
