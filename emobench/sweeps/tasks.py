"""A sweep in tasks, each some images and some configurations: how it is cut, what a task computes and what it needs.

Tasks are cut by what they cost, never by how many workers there are, so that any number of them gives the same bytes.
"""

import hashlib
import math
import pickle
import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emobench.networks.cut import Cut, WholeCut
from emobench.networks.network import Pictures
from emobench.networks.program import largest_value, products
from emobench.networks.whole import WHOLE_COPIES
from emobench.sweeps.fronts import PREFIX_BATCH, FrontRun, PlainRun
from emobench.sweeps.suffix import SuffixEvaluator, block_images

VERSION = 2
"""Of what a task computes and how it is kept."""
CONFIGS_AT_ONCE = 1024
TASK_PRODUCTS = 2e11
"""Multiplications that make a task worth handing over: some seconds on one core."""
PREFIX_SHARE = 1 / 16
"""At most about this share of a task's time goes into the layers before the edited one, once a task."""
WORKING_COPIES, PREFIX_COPIES, SCALE_COPIES, LOGIT_COPIES = 6, 4, 4, 5
"""How many copies of a layer's outputs, of the scales and of the logits exist at the worst moment, at most."""
WHOLE_PRODUCTS = 10**9
"""Multiplications of a network without a graph, for want of knowing."""


@dataclass(frozen=True)
class Question:
    """What is asked of a sweep, as arrays that every worker gets the same.

    ``at`` is the network, cut at the layer; ``classes`` how many logits an image gets. ``labels`` (images,) is None
    where the logits themselves are wanted; ``counted`` (images,) bool says which images count for the NLL.
    """

    at: "Cut | WholeCut | Sent"
    layer: str
    classes: int
    inputs: np.ndarray | Pictures
    scales: np.ndarray
    shifts: np.ndarray | None
    labels: np.ndarray | None
    counted: np.ndarray | None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network().bias[self.layer].device

    @cached_property
    def sent(self) -> "Sent":
        """The network in a form for other processes, made once."""
        buffers: list[pickle.PickleBuffer] = []
        content = pickle.dumps(self.at, protocol=5, buffer_callback=buffers.append)
        return Sent(content, [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers])

    def to_send(self) -> "Question":
        """The same with the weights as arrays, which joblib maps into memory once for all processes."""
        return replace(self, at=self.sent)

    def network(self) -> Cut | WholeCut:
        """The network, on the device."""
        return self.at.opened() if isinstance(self.at, Sent) else self.at

    def arrays(self) -> dict[str, np.ndarray | None]:
        """Everything but the network."""
        of_images = {} if isinstance(self.inputs, Pictures) else {"inputs": self.inputs}
        return of_images | {name: getattr(self, name) for name in ("scales", "shifts", "labels", "counted")}

    def some_inputs(self, images: slice) -> Tensor:
        """What the network takes of some images, on its device."""
        some = self.inputs[images]
        return (some if isinstance(some, Tensor) else torch.tensor(some)).to(self.device)

    @property
    def weight_bytes(self) -> int:
        """What the weights take."""
        return sum(buffer.nbytes for buffer in self.sent.buffers)

    @property
    def array_bytes(self) -> int:
        """What all arrays take but the weights."""
        return sum(array.nbytes for array in self.arrays().values() if array is not None)

    @property
    def sent_bytes(self) -> int:
        """What all arrays take, the weights too."""
        return self.weight_bytes + self.array_bytes

    def digest(self) -> str:
        """A hash of all that the answer depends on."""
        pictures = self.inputs.key() if isinstance(self.inputs, Pictures) else ""
        digest = hashlib.sha256(f"{VERSION} {self.layer} {CONFIGS_AT_ONCE}{pictures}".encode())
        for name, array in self.arrays().items():
            digest.update(f"{name} {None if array is None else (array.shape, array.dtype)}".encode())
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        digest.update(self.sent.content)
        for buffer in self.sent.buffers:
            digest.update(buffer.data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Sent:
    """A cut network, with its weights beside it: pickled by this process for its own workers, nobody else's pickle."""

    content: bytes
    buffers: list[np.ndarray]

    def opened(self) -> Cut | WholeCut:
        """The network again."""
        return pickle.loads(self.content, buffers=self.buffers)


@dataclass(frozen=True)
class Task:
    """Which images (from, to) and which configurations (from, to)."""

    index: int
    images: tuple[int, int]
    configs: tuple[int, int]

    @property
    def part(self) -> str:
        """What it is called where it is kept."""
        return f"{self.index:05d}"

    @property
    def size(self) -> int:
        """Configurations times images."""
        return (self.images[1] - self.images[0]) * (self.configs[1] - self.configs[0])


def evaluate(question: Question, task: Task) -> tuple[Task, dict[str, np.ndarray], float]:
    """What a task computes, on one core.

    Returns:
        The task; ``logits`` (configs, images, classes), or ``predictions`` uint8 (configs, images) and ``nll``, the sum
        over the images that count (configs,) float64; and the seconds it took.
    """
    started = time.perf_counter()
    torch.set_num_threads(1)
    images = slice(*task.images)
    at = question.network()
    evaluator = SuffixEvaluator(at, question.layer, replace(question, at=at).some_inputs(images))
    parts = []
    for first in range(*task.configs, CONFIGS_AT_ONCE):
        some = slice(first, min(first + CONFIGS_AT_ONCE, task.configs[1]))
        shifts = None if question.shifts is None else torch.tensor(question.shifts[some])
        logits = evaluator.logits(torch.tensor(question.scales[some]), shifts).cpu()
        parts.append(_outcome(question, logits, images))
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return task, found, time.perf_counter() - started


def _outcome(question: Question, logits: Tensor, images: slice) -> dict[str, np.ndarray]:
    if question.labels is None or question.counted is None:
        return {"logits": logits.numpy()}
    counted = torch.from_numpy(question.counted[images])
    some = logits[:, counted].double().transpose(1, 2)
    labels = torch.from_numpy(question.labels[images])[counted].expand(len(some), -1)
    nll = F.cross_entropy(some, labels, reduction="none").sum(1)
    return {"predictions": logits.argmax(-1).to(torch.uint8).numpy(), "nll": nll.numpy()}


@dataclass(frozen=True)
class Costs:
    """Of one image: multiplications up to and with the layer, and after it; the largest value's bytes before and after.

    ``block`` is how many images are taken at a time, ``columns`` the bytes of the linear operation that follows the
    layer's front (0 if none does), and ``terms`` whether there may be as many for each image.
    """

    before: int
    after: int
    largest_before: int
    largest_after: int
    block: int
    columns: int
    terms: bool


def costs_of(at: Cut | WholeCut, layer: str, inputs: Tensor) -> Costs:
    """What a sweep costs. A network without a graph is taken for one that runs whole for every edit."""
    if isinstance(at, WholeCut):
        size = inputs[0].numel() * inputs.element_size() * WHOLE_COPIES
        return Costs(1, WHOLE_PRODUCTS, size, size, block_images(PlainRun(at, layer)), 0, False)
    run = FrontRun(at, layer) if at.calls[layer] == 1 else PlainRun(at, layer)
    columns = 4 * run.weights if isinstance(run, FrontRun) and run.changes else 0
    return Costs(
        products(at.before), products(at.after), largest_value(at.before), largest_value(at.after), block_images(run),
        columns, bool(columns) and run.last,
    )  # fmt: skip


def cut_up(question: Question, most_bytes: float) -> tuple[list[Task], int]:
    """Cuts a sweep into tasks: a block of images as large as memory allows, and enough configurations to be worth it.

    Args:
        question: what is asked.
        most_bytes: what one task may need; blocks of fewer images are taken until it fits, if it can.

    Returns:
        The tasks, and what one of them needs at most in bytes.
    """
    images, configs = len(question.inputs), len(question.scales)
    costs = costs_of(question.network(), question.layer, question.some_inputs(slice(0, 2)))
    count = costs.block
    while count > 1 and _task_bytes(question, costs, count) > most_bytes:
        count //= 2
    group = max(costs.before / (costs.after * PREFIX_SHARE), TASK_PRODUCTS / (costs.after * count))
    # As many tasks as that takes, but of one size.
    group = max(1, math.ceil(configs / max(1, math.ceil(configs / group))))
    pairs = [(first, config) for first in range(0, images, count) for config in range(0, configs, group)]
    tasks = [
        Task(index, (first, min(first + count, images)), (config, min(config + group, configs)))
        for index, (first, config) in enumerate(pairs)
    ]
    return tasks, _task_bytes(question, costs, count)


def _task_bytes(question: Question, costs: Costs, images: int) -> int:
    """What a task of so many images needs at most, besides the network, all inputs and all scales."""
    configs = len(question.scales)
    chunk = min(configs, CONFIGS_AT_ONCE)
    prefix = min(images, PREFIX_BATCH) * PREFIX_COPIES * costs.largest_before
    suffix = images * WORKING_COPIES * costs.largest_after
    columns = costs.columns * (1 + images * costs.terms)
    results = 4 * images * question.classes * (chunk * LOGIT_COPIES + configs * (2 if question.labels is None else 1))
    return prefix + suffix + columns + results + 4 * SCALE_COPIES * chunk * question.scales.shape[1]
