"""Running the tasks of a sweep on this machine, within a bound of memory, and keeping what is done."""

import hashlib
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from emobench.errors import UserError
from emobench.files import replacing
from emobench.sweeps.tasks import Question, Task, evaluate

PROCESS_BYTES = 300 * 2**20
"""What a process needs before it does anything: torch, beside what processes share."""

Done = Iterator[tuple[Task, dict[str, np.ndarray], float]]
"""Finished tasks, in any order, with what they found and how long the sweep took longer for each."""


class WorkerDiedError(Exception):
    """A worker is gone, and the tasks it had with it."""


@dataclass(frozen=True)
class Memory:
    """The bound for a sweep in GiB; bytes that its result, inputs and scales take; and bytes for each running task."""

    gib: float
    held: int
    task: int = 0

    def at_once(self, workers: int, *, each: int = 0, fixed: int = 0) -> int:
        """How many tasks run at a time: as many as there are workers, if memory holds them.

        Args:
            workers: how many there are.
            each: bytes that a worker needs besides its task.
            fixed: bytes that are needed whatever runs.

        Raises:
            UserError: not even one fits.
        """
        each += self.task
        if (fits := int((self.gib * 2**30 - self.held - fixed) // each)) < 1:
            needed = (self.held + fixed + each) / 2**30
            raise UserError(f"params: edit.memory_gib is {self.gib:g}; this sweep needs at least {needed:.3g}")
        return min(workers, fits)


def until_done(run: Callable[[list[Task]], Done], tasks: list[Task]) -> Done:
    """Yields every task once, and runs what is left again where a worker dies, as long as that gets anywhere.

    Raises:
        UserError: workers died before they finished a single task.
    """
    left = {task.index: task for task in tasks}
    while left:
        before = len(left)
        try:
            for done in run(list(left.values())):
                del left[done[0].index]
                yield done
        except WorkerDiedError as error:
            if len(left) == before:
                raise UserError(
                    f"edit: workers die before they finish a part ({error}); finished parts are kept for the next run. "
                    "Try fewer jobs, or workers with more memory"
                ) from error
            print(f"edit: {error}; going on with {len(left)} parts", file=sys.stderr)


def in_process(question: Question, tasks: list[Task], memory: Memory) -> Done:
    """In threads of this process, as many as torch uses: torch lets other threads run while it computes."""
    threads = torch.get_num_threads() if question.device.type == "cpu" else 1
    yield from _through_joblib(question, tasks, memory.at_once(threads), "threading")


def in_processes(question: Question, tasks: list[Task], memory: Memory, jobs: int) -> Done:
    """In processes on this machine.

    Raises:
        WorkerDiedError: one of them was killed.
    """
    at_once = memory.at_once(jobs, each=PROCESS_BYTES + question.weight_bytes, fixed=question.sent_bytes)
    try:
        yield from _through_joblib(question.to_send(), tasks, at_once, "loky")
    except BrokenProcessPool as error:
        raise WorkerDiedError("a process was killed, or ran out of memory") from error


@contextmanager
def workers_ready(jobs: int) -> Iterator[None]:
    """Has the processes of ``in_processes`` import what they need while this one prepares.

    Left alone they start when the first sweep does, which then waits for them.
    """
    if jobs < 2:
        yield
        return
    started = Parallel(n_jobs=jobs, backend="loky", return_as="generator_unordered", batch_size=1)(
        delayed(importlib.import_module)(evaluate.__module__) for _ in range(jobs)
    )
    try:
        yield
    finally:
        for _ in started:
            pass


def _through_joblib(question: Question, tasks: list[Task], at_once: int, backend: str) -> Done:
    threads = torch.get_num_threads()
    # Each task sets one thread for itself; what a library keeps for the whole process must not change while they run.
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            # joblib starts a process anew that has grown, and says so; no task is lost by that.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
            pool = Parallel(n_jobs=at_once, backend=backend, return_as="generator_unordered", batch_size=1)
            for task, found, seconds in pool(delayed(evaluate)(question, task) for task in tasks):
                yield task, found, seconds / at_once
    finally:
        torch.set_num_threads(threads)


class Kept:
    """The folder where finished parts of one piece of work lie, a file each; without a folder nothing is kept.

    Args:
        folder: of interrupted work; pieces that differ in anything have folders of their own below it.
        key: a hash of all that the parts depend on.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder = None if folder is None else Path(folder) / key[:16]
        self._key = key

    def load(self, part: str) -> dict[str, np.ndarray] | None:
        """What was kept of a part; None if nothing was, or a file that isn't whole or belongs to other work."""
        if self._folder is None:
            return None
        path = self._folder / f"{part}.safetensors"
        try:
            with safe_open(path, "np") as file:
                label = file.metadata()
            return load_file(path) if label == self._labelled(part) else None
        except (OSError, SafetensorError):
            return None

    def save(self, part: str, found: Mapping[str, np.ndarray]) -> None:
        """Keeps what was computed."""
        if self._folder is not None:
            with replacing(self._folder / f"{part}.safetensors") as temporary:
                save_file(dict(found), temporary, metadata=self._labelled(part))

    def _labelled(self, part: str) -> dict[str, str]:
        return {"work": self._key, "part": part}


def sweep_key(question: Question, tasks: list[Task]) -> str:
    """The key under which the tasks of a sweep are kept."""
    cuts = repr([asdict(task) for task in tasks])
    return hashlib.sha256((question.digest() + cuts).encode()).hexdigest()
