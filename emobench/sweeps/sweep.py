"""Evaluating many configurations of one layer on one set of images: in this process, in several, or on a Dask cluster.

Memory is bounded over all workers together. What is done can be kept in a folder, so that an interrupted sweep goes on
where it was; a worker that dies costs the tasks it had, which are computed again. Neither changes a byte of the result.
"""

import sys
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emobench.errors import UserError
from emobench.networks.cut import Cut, WholeCut, cut
from emobench.progress import progress
from emobench.sweeps.runs import (
    Done,
    Kept,
    Memory,
    WorkerDiedError,
    in_process,
    in_processes,
    sweep_key,
    until_done,
)
from emobench.sweeps.tasks import Question, Task, cut_up, evaluate

SAID_FROM = 10.0
"""Seconds from which on a sweep says how long it will take."""
CONNECT_SECONDS, WORKERS_SECONDS = 5, 30
"""How long a Dask scheduler has to answer, and how long a cluster may be without any worker."""


@dataclass(frozen=True)
class Outcomes:
    """What each configuration does: predictions uint8 (configs, images), and the mean NLL in nats, float64 (configs,).

    The NLL is taken over the images that were asked for; NaN where there is none.
    """

    predictions: np.ndarray
    nll: np.ndarray


def sweep_logits(
    model: nn.Module | Cut | WholeCut,
    layer: str,
    inputs: Tensor,
    scales: Tensor,
    shifts: Tensor | None = None,
    *,
    memory_gib: float,
    jobs: int = 1,
    scheduler: str | None = None,
    work: Path | None = None,
) -> Tensor:
    """Logits of every configuration on every image.

    Args:
        model: in evaluation mode; or a Network, or what ``cut`` made of one.
        layer: the layer whose rows are scaled.
        inputs: what the network takes, (images, ...), on any device.
        scales: (configs, units).
        shifts: the same shape: what is added to the scaled outputs; None for the layer's own bias, unscaled.
        memory_gib: bound for all that the sweep holds, scales and result included, in all its processes together.
        jobs: how many processes, one core each; 1, or a model on a GPU: this process, with as many threads as torch
            uses.
        scheduler: address of a Dask scheduler, whose workers compute instead; they need emobench.
        work: folder in which finished tasks are kept, and looked for; None to keep none.

    Returns:
        (configs, images, classes) float32 on the CPU, the same bytes for any number of workers.

    Raises:
        UserError: no such layer; ``memory_gib`` is too small; no Dask or no scheduler; workers that keep dying.
        ValueError: shapes that don't fit, or scales or shifts that are not finite.
    """
    question = _question(model, layer, inputs, scales, shifts)
    result = np.empty((len(scales), len(inputs), question.classes), np.float32)

    def put(task: Task, found: dict[str, np.ndarray]) -> None:
        result[slice(*task.configs), slice(*task.images)] = found["logits"]

    _sweep(question, put, Memory(memory_gib, result.nbytes), jobs, scheduler, work)
    return torch.from_numpy(result)


def sweep_outcomes(
    model: nn.Module | Cut | WholeCut,
    layer: str,
    inputs: Tensor,
    labels: Tensor,
    scales: Tensor,
    shifts: Tensor | None = None,
    *,
    memory_gib: float,
    nll_on: Tensor | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    work: Path | None = None,
) -> Outcomes:
    """Predictions and mean NLL of every configuration; logits are held for some configurations at a time only.

    ``labels`` (images,) are integers; ``nll_on`` (images,) bool says which images the NLL is taken over, None for all.
    Everything else, and what is raised, is as for sweep_logits.
    """
    counted = torch.ones(len(inputs), dtype=torch.bool) if nll_on is None else nll_on
    question = _question(model, layer, inputs, scales, shifts, labels, counted)
    predictions = np.empty((len(scales), len(inputs)), np.uint8)
    sums: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(len(scales)))

    def put(task: Task, found: dict[str, np.ndarray]) -> None:
        predictions[slice(*task.configs), slice(*task.images)] = found["predictions"]
        sums[task.images[0]][slice(*task.configs)] = found["nll"]

    _sweep(question, put, Memory(memory_gib, predictions.nbytes), jobs, scheduler, work)
    # In the order of the images, whichever were done first: the order of a sum changes its last bits.
    total = sum((sums[first] for first in sorted(sums)), np.zeros(len(scales)))
    return Outcomes(predictions, total / count if (count := int(counted.sum())) else np.full(len(scales), np.nan))


def _question(
    model: nn.Module | Cut | WholeCut, layer: str, inputs: Tensor, scales: Tensor, shifts: Tensor | None,
    *of_images: Tensor,
) -> Question:  # fmt: skip
    """Everything as arrays, after a look at what would only fail in a worker. ``of_images``: labels, and nll_on."""
    example = inputs[:2] if len(inputs) else inputs.new_zeros(2, *inputs.shape[1:])
    at = model if isinstance(model, Cut | WholeCut) else cut(model, layer, example)
    units = at.units[layer]
    for name, values in (("scales", scales), ("shifts", shifts)):
        if values is not None and values.shape != (len(scales), units):
            raise ValueError(f"{name} is {tuple(values.shape)} for {layer}; expected ({len(scales)}, {units})")
        if values is not None and (bad := int((~values.isfinite()).any(1).sum())):
            raise ValueError(f"{name}: {bad} of {len(values)} configurations hold NaN or infinity")
    for name, values in zip(("labels", "nll_on"), of_images, strict=False):
        if values.shape != (len(inputs),):
            raise ValueError(f"{name} is {tuple(values.shape)}; there are {len(inputs)} images")
    floats = [None if values is None else values.detach().cpu().float().numpy() for values in (inputs, scales, shifts)]
    labels, counted = [values.cpu().numpy() for values in of_images] or (None, None)
    with torch.no_grad():
        classes = at.suffix(at.prefix(example.to(at.bias[layer].device)), {}).shape[1]
    return Question(at, layer, classes, *floats, labels, counted)


def _sweep(
    question: Question,
    put: Callable[[Task, dict[str, np.ndarray]], None],
    memory: Memory,
    jobs: int,
    scheduler: str | None,
    work: Path | None,
) -> None:
    """Puts the result of every task into its place, those that were kept first."""
    held = memory.held + question.array_bytes
    tasks, each = cut_up(question, memory.gib * 2**30 - held)
    memory, todo = replace(memory, held=held, task=each), []
    kept = Kept(work, sweep_key(question, tasks) if work else "")
    for task in tasks:
        if (found := kept.load(task.part)) is None:
            todo.append(task)
        else:
            put(task, found)

    def run(some: list[Task]) -> Done:
        if scheduler is not None:
            return _on_cluster(question, some, memory, scheduler)
        alone = jobs == 1 or question.device.type != "cpu"
        return in_process(question, some, memory) if alone else in_processes(question, some, memory, jobs)

    said = False
    with progress(total=len(todo), desc=f"edit {question.layer}", unit="part") as bar:
        for task, found, seconds in until_done(run, todo):
            kept.save(task.part, found)
            put(task, found)
            bar.update()
            expected = seconds * sum(one.size for one in todo) / task.size
            if not said and expected >= SAID_FROM:
                bar.write(_announcement(question, len(tasks) - len(todo), len(tasks), expected), sys.stderr)
            said = True


def _announcement(question: Question, before: int, tasks: int, seconds: float) -> str:
    """How many configurations and images, what was done before, and how long the rest takes."""
    unit, length = next(((unit, n) for unit, n in (("h", 3600), ("min", 60)) if seconds >= 1.5 * n), ("s", 1))
    done = f"{before} of {tasks} parts were done before, " if before else ""
    what = f"{len(question.scales):,} configurations on {len(question.inputs):,} images"
    return f"edit {question.layer}: {what}, {done}about {seconds / length:.{int(unit == 'h')}f} {unit}"


def _on_cluster(question: Question, tasks: list[Task], memory: Memory, scheduler: str) -> Done:
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
    waiting, running = iter(tasks), set()
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
