"""Evaluating many configurations of one layer on one set of images: in this process, in several, or on a Dask cluster.

Memory is bounded over all workers together. What is done can be kept in a folder, so that an interrupted sweep goes on
where it was; a worker that dies costs the tasks it had, which are computed again. Neither changes a byte of the result.
"""

import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from emobench.networks.cut import Cut, WholeCut, cut
from emobench.networks.network import Network, Pictures
from emobench.progress import progress
from emobench.sweeps.cluster import on_cluster
from emobench.sweeps.runs import (
    Done,
    Kept,
    Memory,
    in_process,
    in_processes,
    sweep_key,
    until_done,
)
from emobench.sweeps.tasks import Question, Task, cut_up

SAID_FROM = 10.0
"""Seconds from which on a sweep says how long it will take."""


@dataclass(frozen=True)
class Outcomes:
    """What each configuration does: predictions uint8 (configs, images), and the mean NLL in nats, float64 (configs,).

    The NLL is taken over the images that were asked for; NaN where there is none.
    """

    predictions: np.ndarray
    nll: np.ndarray


def sweep_logits(
    model: nn.Module | Network | Cut | WholeCut,
    layer: str,
    inputs: Tensor | Pictures,
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
        inputs: what the network takes, (images, ...), on any device; or ``Pictures``, which make it by blocks.
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
    model: nn.Module | Network | Cut | WholeCut,
    layer: str,
    inputs: Tensor | Pictures,
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
    model: nn.Module | Network | Cut | WholeCut, layer: str, inputs: Tensor | Pictures,
    scales: Tensor, shifts: Tensor | None, *of_images: Tensor,
) -> Question:  # fmt: skip
    """Everything as arrays, after a look at what would only fail in a worker. ``of_images``: labels, and nll_on."""
    example = inputs[:2] if len(inputs) else torch.zeros(2, *inputs[:0].shape[1:])
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
    given = inputs if isinstance(inputs, Pictures) else _array(inputs)
    moved = None if shifts is None else _array(shifts)
    labels, counted = [values.cpu().numpy() for values in of_images] or (None, None)
    with torch.no_grad():
        classes = at.suffix(at.prefix(example.to(at.bias[layer].device)), {}).shape[1]
    return Question(at, layer, classes, given, _array(scales), moved, labels, counted)


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().float().numpy()


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
            return on_cluster(question, some, memory, scheduler)
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
