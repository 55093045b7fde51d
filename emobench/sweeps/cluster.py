"""A sweep on the workers of a Dask cluster: the one module that knows Dask."""

from concurrent.futures import CancelledError
from itertools import islice
from typing import Any

from emobench.errors import UserError
from emobench.sweeps.runs import Done, Memory, WorkerDiedError
from emobench.sweeps.tasks import Question, Task, evaluate

CONNECT_SECONDS, WORKERS_SECONDS = 5, 30
"""How long a Dask scheduler has to answer, and how long a cluster may be without any worker."""


def on_cluster(question: Question, tasks: list[Task], memory: Memory, scheduler: str) -> Done:
    """On the workers of a Dask cluster, without joblib's own backend: that one waits for ever for a task that failed.

    Raises:
        UserError: Dask isn't installed, or there is no scheduler or no worker.
        WorkerDiedError: one task was lost with several workers, or no worker is left.
    """
    try:
        from dask.distributed import Client, KilledWorker
    except ImportError:
        raise UserError("edit.scheduler needs Dask; install it: pip install 'emobench[cluster]'") from None
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"edit.scheduler: no Dask scheduler answers at {scheduler!r} ({_first_line(error)})") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_SECONDS)
        except TimeoutError:
            raise UserError(f"edit.scheduler: the cluster at {scheduler} has no worker") from None
        cores = client.ncores()
        fixed, each = len(cores) * question.sent_bytes, question.weight_bytes
        at_once = memory.at_once(sum(cores.values()), each=each, fixed=fixed)
        try:
            yield from _submitted(client, question.to_send(), tasks, at_once)
        except (KilledWorker, CancelledError, OSError) as error:
            raise WorkerDiedError(f"Dask: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _submitted(client: Any, question: Question, tasks: list[Task], at_once: int) -> Done:
    """Yields the tasks' results; never more than so many are with the workers, for their memory."""
    from dask.distributed import wait

    # On every worker from the start: no result depends on one worker that alone has it.
    sent = client.scatter(question, broadcast=True, hash=False)
    waiting = iter(tasks)
    running: set[Any] = set()
    while True:
        running |= {client.submit(evaluate, sent, task, pure=False) for task in islice(waiting, at_once - len(running))}
        if not running:
            return
        try:
            with client.as_current():
                finished = wait(list(running), timeout=WORKERS_SECONDS, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            if not client.ncores():
                raise WorkerDiedError("no worker is left") from None
            continue
        for future in finished:
            running.remove(future)
            task, found, seconds = future.result()
            yield task, found, seconds / at_once
