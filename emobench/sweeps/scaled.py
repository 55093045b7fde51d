"""A network's logits as a differentiable function of the row scales of one or several of its layers, and their descent.

What falls is the NLL of softmax(logits / T) plus penalty * (mean over units of (log scale)^2). T is free, so that
scales aren't spent on what one temperature does as well.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emobench.errors import UserError
from emobench.functional.calibration import fit_temperature
from emobench.networks.augmented import Augmented
from emobench.networks.cut import Cut, WholeCut, cut, joined, taken
from emobench.networks.graph import capture
from emobench.networks.layers import layers_of
from emobench.networks.network import Network, Pictures, module_of
from emobench.networks.ranges import Range
from emobench.networks.whole import WHOLE_COPIES
from emobench.progress import progress

BETAS = (0.9, 0.99)
PREFIX_BATCH = 64
MOST_AT_ONCE = 512
"""Images that go through the scaled layers together, where memory holds more: beyond that products get no quicker."""


class ScaledNetwork:
    """Logits of a network whose weight rows are scaled in some layers, with their biases left alone.

    What doesn't depend on the scales is computed once if it fits in half of the memory, else for each batch anew.

    Args:
        model: in evaluation mode; or a Network. It is not changed.
        layers: which, in any order.
        inputs: what the network takes, (images, ...); or a ``Pictures``, which makes them by batches.
        memory_gib: bound for what is kept and for what a batch on each core needs, gradients included.
        ranges: layer -> where its scales act (see emobench.networks.ranges); on all of its output where none is named.
        augmented: what some of the images are when scales are fitted, changed at random; None for the images as they
            are. Then what doesn't depend on the scales is computed anew for each batch.

    Raises:
        UserError: no such layer, or a network that can't be cut.
        ValueError: no layer, a layer twice, or the model is in training mode.
    """

    def __init__(
        self, model: nn.Module | Network, layers: Sequence[str], inputs: Tensor | Pictures, *, memory_gib: float,
        ranges: Mapping[str, Range] | None = None, augmented: Augmented | None = None,
    ) -> None:  # fmt: skip
        self._cut, self._augmented = cut(model, layers, inputs[:2], ranges), augmented
        if self._cut.way == "cut":
            # In the order of computation, however they were named.
            order = list(layers_of(capture(module_of(model), inputs[:2])))
            self._cut = cut(model, sorted(layers, key=order.index), inputs[:2], ranges)
        self.layers = list(self._cut.layers)
        self.images, self.device = len(inputs), self._cut.bias[self.layers[0]].device
        self._inputs = inputs
        self._units = [self._cut.units[layer] for layer in self.layers]
        half = memory_gib * 2**30 / 2
        kept, working = _image_bytes(self._cut, inputs[:2])
        keep = "other" not in self._cut.kinds and len(inputs) * kept <= half
        cores = torch.get_num_threads() if self.device.type == "cpu" else 1
        self.images_at_once = min(MOST_AT_ONCE, max(1, int(half / (cores * working))))
        self._live = self._all_live() if keep else None

    def by_layer(self, values: Tensor) -> dict[str, Tensor]:
        """Splits one value for each unit of all the layers (units of all, ...) into layer -> (units, ...)."""
        return dict(zip(self.layers, values.split(self._units), strict=True))

    def logits(self, scales: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        """Logits (rows, classes) of some images, differentiable in the scales: layer -> (units,)."""
        if self._live is None:
            return self._from_inputs(scales, self._inputs[rows])
        return self._suffix(scales, taken(self._live, self._cut.kinds, rows))

    def fitted_logits(self, scales: Mapping[str, Tensor], rows: Tensor, generator: torch.Generator) -> Tensor:
        """The same of the images as scales are fitted on them: augmented, by the generator, if that is asked for."""
        if self._augmented is None:
            return self.logits(scales, rows)
        return self._from_inputs(scales, self._augmented(rows, generator))

    @torch.no_grad()
    def all_logits(self, scales: Mapping[str, Tensor] | None, rows: np.ndarray | None = None) -> Tensor:
        """Logits (rows, classes) on the CPU, in batches; scales None for the network as it is, rows None for all."""
        wanted = torch.arange(self.images) if rows is None else torch.from_numpy(rows)
        return torch.cat([self.logits(scales or {}, part).cpu() for part in wanted.split(self.images_at_once)])

    def _from_inputs(self, scales: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        with torch.no_grad():
            live = self._quick(self._cut.prefix(inputs.to(self.device)))
        return self._suffix(scales, live)

    def _suffix(self, scales: Mapping[str, Tensor], live: tuple) -> Tensor:
        return self._cut.suffix(live, {layer: scale.to(self.device) for layer, scale in scales.items()})

    def _quick(self, live: tuple) -> tuple:
        """The same values with channels last, where convolutions take half of the time, a third less with gradients."""
        return tuple(
            value.contiguous(memory_format=torch.channels_last) if kind == "rows" and value.ndim == 4 else value
            for value, kind in zip(live, self._cut.kinds, strict=True)
        )

    @torch.no_grad()
    def _all_live(self) -> tuple:
        """What doesn't depend on the scales, of all images."""
        starts = range(0, self.images, PREFIX_BATCH)
        parts = [self._cut.prefix(self._inputs[first : first + PREFIX_BATCH].to(self.device)) for first in starts]
        return self._quick(joined(parts, self._cut.kinds))


@torch.no_grad()
def _image_bytes(at: Cut | WholeCut, inputs: Tensor) -> tuple[int, int]:
    """What is kept of an image, and what a gradient takes at most: every value after the cut, and its gradient."""
    if at.way == "whole":
        size = inputs[0].numel() * inputs.element_size()
        return size, size * WHOLE_COPIES
    example = next(
        node.meta["sizes"][0] for node in at.before.graph.nodes if node.meta["sizes"] and node.op == "placeholder"
    )
    outputs = next(node for node in at.before.graph.nodes if node.op == "output").args[0]
    kept = sum(4 * math.prod(node.meta["sizes"]) for node in outputs if node.meta["sizes"]) // example
    values = [node.meta["sizes"] for node in at.after.graph.nodes if node.op == "call_function" and node.meta["sizes"]]
    before = [node.meta["sizes"] for node in at.before.graph.nodes if node.op == "call_function" and node.meta["sizes"]]
    largest = max((4 * math.prod(sizes) for sizes in before), default=0) // example
    return kept, max(1, kept + 2 * sum(4 * math.prod(sizes) for sizes in values) // example + 4 * largest)


def search_scales(
    network: ScaledNetwork, labels: Tensor, rows: np.ndarray, groups: Mapping[str, Tensor],
    *, penalty: float, steps: int, batch_size: int, learning_rate: float, seed: int,
) -> dict[str, Tensor]:  # fmt: skip
    """The scales that gradient descent (Adam, cosine schedule) finds on some of a network's images.

    Args:
        network: with the layers to scale, and the images.
        labels: (images,) of all its images.
        rows: which of them are used.
        groups: layer -> (units,) int64: units with the same number share a scale.
        penalty: towards 1, see the module's docstring.
        steps: how many.
        batch_size: images a step, or all if there are fewer.
        learning_rate: of the logarithms of scales and temperature.
        seed: of the order of the images, and of their augmentation.

    Returns:
        layer -> (units,) float32, greater than 0.

    Raises:
        UserError: a scale is not finite or 0 in the end.
    """
    flat = torch.cat([groups[layer] for layer in network.layers]).to(network.device)
    log_scales = torch.zeros(int(flat.max()) + 1, device=network.device, requires_grad=True)
    start = fit_temperature(network.all_logits(None, rows[: 4 * batch_size]), labels[rows[: 4 * batch_size]])
    log_temperature = torch.tensor(math.log(start), device=network.device, requires_grad=True)
    searched = [log_scales, log_temperature]
    optimizer = torch.optim.Adam(searched, lr=learning_rate, betas=BETAS)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches = _batches(rows, batch_size, steps, torch.Generator().manual_seed(seed))
    changes = torch.Generator().manual_seed(seed)
    for batch in progress(batches, total=steps, desc="fit scales", unit="step"):
        # index_select: the gradient of plain indexing may add in any order.
        restraint = penalty * log_scales.index_select(0, flat).square().mean()
        total = list(torch.autograd.grad(restraint, searched, materialize_grads=True))
        for part in batch.split(network.images_at_once):
            logits = network.fitted_logits(network.by_layer(log_scales.index_select(0, flat).exp()), part, changes)
            target = labels[part].to(network.device)
            nll = F.cross_entropy(logits / log_temperature.exp(), target, reduction="sum") / len(batch)
            for sum_, gradient in zip(total, torch.autograd.grad(nll, searched), strict=True):
                sum_ += gradient
        log_scales.grad, log_temperature.grad = total
        optimizer.step()
        schedule.step()
    scales = log_scales.detach().index_select(0, flat).exp()
    if not (scales.isfinite().all() and (scales > 0).all()):
        raise UserError("edit: the search for scales diverged; lower edit.search.learning_rate or raise its penalties")
    return {layer: scale.cpu() for layer, scale in network.by_layer(scales).items()}


def _batches(rows: np.ndarray, batch_size: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of full size, in a new order whenever too few images are left of the last one."""
    rows = torch.from_numpy(rows)
    size, left = min(batch_size, len(rows)), rows[:0]
    for _ in range(steps):
        if len(left) < size:
            left = rows[torch.randperm(len(rows), generator=generator)]
        batch, left = left[:size], left[size:]
        yield batch
