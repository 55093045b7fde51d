"""A sweep in tasks, each some images and some configurations: how it is cut, what a task computes and what it needs.

Tasks are cut by what they cost, never by how many workers there are, so that any number of them gives the same bytes.
"""

import copy
import hashlib
import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emobench.networks.suffix import PREFIX_BATCH, SuffixEvaluator, block_images
from emobench.networks.vggnet import INPUT_SIZE, VGGNet
from emobench.params import LAYERS
from emobench.vocabulary import CLASSES

VERSION = 1
"""Of what a task computes and how it is kept."""
CONFIGS_AT_ONCE = 1024
TASK_PRODUCTS = 2e11
"""Multiplications that make a task worth handing over: some seconds on one core."""
PREFIX_SHARE = 1 / 16
"""At most about this share of a task's time goes into the layers before the edited one, once a task."""
WORKING_COPIES, PREFIX_COPIES, SCALE_COPIES, LOGIT_COPIES = 6, 4, 4, 5
"""How many copies of a layer's outputs, of the scales and of the logits exist at the worst moment, at most."""


@dataclass(frozen=True)
class Question:
    """What is asked of a sweep, as arrays that every worker gets the same.

    ``labels`` (images,) is None where the logits themselves are wanted; ``counted`` (images,) bool says which images
    count for the NLL. ``state`` holds the weights if the model was emptied to be sent to other processes.
    """

    model: VGGNet
    layer: str
    inputs: np.ndarray
    scales: np.ndarray
    shifts: np.ndarray | None
    labels: np.ndarray | None
    counted: np.ndarray | None
    device: str
    state: dict[str, np.ndarray] | None = None

    def to_send(self) -> "Question":
        """The same with the weights as arrays, which joblib maps into memory once for all processes."""
        return replace(self, model=copy.deepcopy(self.model).to("meta"), state=self.weights())

    def network(self) -> VGGNet:
        """The network, on the device."""
        if self.state is None:
            return self.model
        weights = {name: torch.tensor(value) for name, value in self.state.items()}
        model = copy.deepcopy(self.model)
        model.load_state_dict(weights, assign=True)
        return model.to(self.device)

    def arrays(self) -> dict[str, np.ndarray | None]:
        """Everything but the weights."""
        return {name: getattr(self, name) for name in ("inputs", "scales", "shifts", "labels", "counted")}

    def weights(self) -> dict[str, np.ndarray]:
        """The weights as arrays."""
        if self.state is not None:
            return self.state
        return {name: value.detach().cpu().numpy() for name, value in self.model.state_dict().items()}

    @property
    def weight_bytes(self) -> int:
        """What the weights take."""
        return sum(value.nbytes for value in self.weights().values())

    @property
    def sent_bytes(self) -> int:
        """What all arrays take, the weights too."""
        return self.weight_bytes + sum(array.nbytes for array in self.arrays().values() if array is not None)

    def digest(self) -> str:
        """A hash of all that the answer depends on."""
        digest = hashlib.sha256(f"{VERSION} {self.layer} {CONFIGS_AT_ONCE}".encode())
        for name, array in (self.arrays() | self.weights()).items():
            digest.update(f"{name} {None if array is None else (array.shape, array.dtype)}".encode())
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


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
    inputs = torch.tensor(question.inputs[images]).to(question.device)
    evaluator = SuffixEvaluator(question.network(), question.layer, inputs)
    parts = []
    for first in range(*task.configs, CONFIGS_AT_ONCE):
        some = slice(first, min(first + CONFIGS_AT_ONCE, task.configs[1]))
        shifts = None if question.shifts is None else torch.tensor(question.shifts[some])
        logits = evaluator.logits(torch.tensor(question.scales[some]), shifts).cpu()
        parts.append(_outcome(question, logits, images))
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return task, found, time.perf_counter() - started


def _outcome(question: Question, logits: Tensor, images: slice) -> dict[str, np.ndarray]:
    if question.labels is None:
        return {"logits": logits.numpy()}
    counted = torch.from_numpy(question.counted[images])
    some = logits[:, counted].double().transpose(1, 2)
    labels = torch.from_numpy(question.labels[images])[counted].expand(len(some), -1)
    nll = F.cross_entropy(some, labels, reduction="none").sum(1)
    return {"predictions": logits.argmax(-1).to(torch.uint8).numpy(), "nll": nll.numpy()}


def products(model: VGGNet, layer: str) -> tuple[int, int]:
    """Multiplications for one image: up to and with a layer, and after it."""
    each = {name: count * model.get_submodule(name).weight[0].numel() for name, count in _outputs(model).items()}
    before = sum(each[name] for name in LAYERS[: LAYERS.index(layer) + 1])
    return before, sum(each.values()) - before


def _outputs(model: VGGNet) -> dict[str, int]:
    """How many numbers each layer puts out for an image."""
    counts, side = {}, INPUT_SIZE
    for name in LAYERS:
        counts[name] = len(model.get_submodule(name).weight) * (side**2 if name.startswith("conv") else 1)
        side //= 2 if name.endswith("b") else 1
    return counts


def cut(question: Question, most_bytes: float) -> tuple[list[Task], int]:
    """Cuts a sweep into tasks: a block of images as large as memory allows, and enough configurations to be worth it.

    Args:
        question: what is asked.
        most_bytes: what one task may need; blocks of fewer images are taken until it fits, if it can.

    Returns:
        The tasks, and what one of them needs at most in bytes.
    """
    images, configs = len(question.inputs), len(question.scales)
    before, after = products(question.model, question.layer)
    count = block_images(question.model, question.layer)
    while count > 1 and _task_bytes(question, count) > most_bytes:
        count //= 2
    group = max(before / (after * PREFIX_SHARE), TASK_PRODUCTS / (after * count))
    # As many tasks as that takes, but of one size.
    group = max(1, math.ceil(configs / max(1, math.ceil(configs / group))))
    pairs = [(first, config) for first in range(0, images, count) for config in range(0, configs, group)]
    tasks = [
        Task(index, (first, min(first + count, images)), (config, min(config + group, configs)))
        for index, (first, config) in enumerate(pairs)
    ]
    return tasks, _task_bytes(question, count)


def _task_bytes(question: Question, images: int) -> int:
    """What a task of so many images needs at most, besides the network, all inputs and all scales."""
    model, layer, configs = question.model, question.layer, len(question.scales)
    sizes = {name: 4 * count for name, count in _outputs(model).items()}
    place = LAYERS.index(layer)
    units, classes, chunk = len(model.get_submodule(layer).weight), len(CLASSES), min(configs, CONFIGS_AT_ONCE)
    prefix = min(images, PREFIX_BATCH) * PREFIX_COPIES * max(sizes[name] for name in LAYERS[: place + 1])
    suffix = images * WORKING_COPIES * max(sizes[name] for name in LAYERS[place:])
    following = model.get_submodule(LAYERS[place + 1]).weight
    columns = 4 * following.numel() * (1 if layer != LAYERS[-2] else 1 + images) if following.ndim == 2 else 0
    results = 4 * images * classes * (chunk * LOGIT_COPIES + configs * (2 if question.labels is None else 1))
    return prefix + suffix + columns + results + 4 * SCALE_COPIES * chunk * units
