"""A network's logits as a differentiable function of the row scales of one or several of its layers, and their descent.

What falls is the NLL of softmax(logits / T) plus pull * (mean over units of (log scale)^2). T is free, so that scales
aren't spent on what one temperature does as well.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emobench.errors import UserError, unknown_name
from emobench.functional.calibration import fit_temperature
from emobench.networks.suffix import output_bytes
from emobench.networks.vggnet import VGGNet
from emobench.params import LAYERS
from emobench.progress import progress

BETAS = (0.9, 0.99)
PREFIX_BATCH = 64
WORKING_COPIES = 8
"""How many copies of an image's outputs of each layer exist while a gradient is taken: what each operation keeps."""

MOST_AT_ONCE = 512
"""Images that go through the scaled layers together, where memory holds more: beyond that products get no quicker."""


class ScaledNetwork:
    """Logits of a network whose weight rows are scaled in some layers, with their biases left alone.

    The outputs of the first scaled layer are computed once if they fit in half of the memory, else for each batch anew.

    Args:
        model: in evaluation mode. It is not changed.
        layers: which of the ten layers before lin3, in any order.
        inputs: (images, 1, 40, 40).
        memory_gib: bound for the outputs that are kept and for what a batch on each core needs, gradients included.

    Raises:
        UserError: no such layer.
        ValueError: no layer, a layer twice, or the model is in training mode.
    """

    def __init__(self, model: VGGNet, layers: Sequence[str], inputs: Tensor, *, memory_gib: float) -> None:
        for layer in layers:
            if layer not in LAYERS[:-1]:
                raise unknown_name("layer to search", layer, LAYERS[:-1])
        if not layers or len(set(layers)) < len(layers):
            raise ValueError(f"layers to scale are {list(layers)}; expected at least one, each once")
        if model.training:
            raise ValueError("the model is in training mode: dropout and BatchNorm would change with every run")
        self.layers = sorted(layers, key=LAYERS.index)
        self.images, self.device = len(inputs), model.lin3.weight.device
        self._model, self._inputs = model, inputs
        self._units = [len(model.get_submodule(layer).bias) for layer in self.layers]
        half = memory_gib * 2**30 / 2
        sizes = [output_bytes(model, layer) for layer in LAYERS]
        kept = len(inputs) * output_bytes(model, self.layers[0]) <= half
        working = WORKING_COPIES * sum(sizes[LAYERS.index(self.layers[0]) :]) + (0 if kept else 4 * max(sizes))
        cores = torch.get_num_threads() if self.device.type == "cpu" else 1
        self.images_at_once = min(MOST_AT_ONCE, max(1, int(half / (cores * working))))
        self._first = torch.cat([self._outputs(part) for part in inputs.split(PREFIX_BATCH)]) if kept else None

    def by_layer(self, values: Tensor) -> dict[str, Tensor]:
        """Splits one value for each unit of all the layers (units of all, ...) into layer -> (units, ...)."""
        return dict(zip(self.layers, values.split(self._units), strict=True))

    def logits(self, scales: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        """Logits (rows, classes) of some images, differentiable in the scales: layer -> (units,)."""
        x = self._outputs(self._inputs[rows]) if self._first is None else self._first[rows]
        start = LAYERS.index(self.layers[0])
        for name in LAYERS[start:]:
            module = self._model.get_submodule(name)
            outputs = x if name == self.layers[0] else module(x)
            if name in scales:
                shape = (-1, *[1] * (outputs.ndim - 2))
                bias, scale = module.bias.detach().reshape(shape), scales[name].to(self.device).reshape(shape)
                outputs = torch.addcmul(bias, outputs - bias, scale)
            x = self._model.activate(name, outputs)
        return x

    @torch.no_grad()
    def all_logits(self, scales: Mapping[str, Tensor] | None, rows: np.ndarray | None = None) -> Tensor:
        """Logits (rows, classes) on the CPU, in batches; scales None for the network as it is, rows None for all."""
        wanted = torch.arange(self.images) if rows is None else torch.from_numpy(rows)
        return torch.cat([self.logits(scales or {}, part).cpu() for part in wanted.split(self.images_at_once)])

    @torch.no_grad()
    def _outputs(self, inputs: Tensor) -> Tensor:
        """The first scaled layer's outputs, bias included."""
        layer = self.layers[0]
        return self._model.get_submodule(layer)(self._model.inputs_of(layer, inputs.to(self.device)))


def search_scales(
    network: ScaledNetwork, labels: Tensor, rows: np.ndarray, groups: Mapping[str, Tensor],
    *, pull: float, steps: int, batch_size: int, learning_rate: float, seed: int,
) -> dict[str, Tensor]:  # fmt: skip
    """The scales that gradient descent (Adam, cosine schedule) finds on some of a network's images.

    Args:
        network: with the layers to scale, and the images.
        labels: (images,) of all its images.
        rows: which of them are used.
        groups: layer -> (units,) int64: units with the same number share a scale.
        pull: towards 1, see the module's docstring.
        steps: how many.
        batch_size: images a step, or all if there are fewer.
        learning_rate: of the logarithms of scales and temperature.
        seed: of the order of the images.

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
    for batch in progress(batches, total=steps, desc="fit scales", unit="step"):
        # index_select: the gradient of plain indexing may add in any order.
        penalty = pull * log_scales.index_select(0, flat).square().mean()
        total = list(torch.autograd.grad(penalty, searched, materialize_grads=True))
        for part in batch.split(network.images_at_once):
            logits = network.logits(network.by_layer(log_scales.index_select(0, flat).exp()), part)
            target = labels[part].to(network.device)
            nll = F.cross_entropy(logits / log_temperature.exp(), target, reduction="sum") / len(batch)
            for sum_, gradient in zip(total, torch.autograd.grad(nll, searched), strict=True):
                sum_ += gradient
        log_scales.grad, log_temperature.grad = total
        optimizer.step()
        schedule.step()
    scales = log_scales.detach().index_select(0, flat).exp()
    if not (scales.isfinite().all() and (scales > 0).all()):
        raise UserError("edit: the search for scales diverged; lower edit.search.learning_rate or raise its pulls")
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
