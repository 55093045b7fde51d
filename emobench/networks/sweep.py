"""Evaluating many configurations of one layer on one set of images within a bound of memory."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emobench.errors import UserError
from emobench.networks.suffix import SuffixEvaluator, output_bytes
from emobench.networks.vggnet import VGGNet
from emobench.progress import progress
from emobench.vocabulary import CLASSES

CONFIGS_AT_ONCE = 64
WORKING_COPIES = 4
"""How many copies of an image's outputs exist at the worst moment, while a block of the cache is made."""


@dataclass(frozen=True)
class Outcomes:
    """What each configuration does: predictions uint8 (configs, images), and the mean NLL in nats, float64 (configs,).

    The NLL is taken over the images that were asked for; NaN where there is none.
    """

    predictions: np.ndarray
    nll: np.ndarray


def sweep_logits(
    model: VGGNet, layer: str, inputs: Tensor, scales: Tensor, shifts: Tensor | None = None, *, memory_gib: float
) -> Tensor:
    """Logits of every configuration on every image.

    Args:
        model: in evaluation mode.
        layer: the layer whose rows are scaled.
        inputs: (images, 1, 40, 40), on any device.
        scales: (configs, units).
        shifts: the same shape: what is added to the scaled outputs; None for the layer's own bias, unscaled.
        memory_gib: bound for the cached outputs and the result; the images are split so that both fit.

    Returns:
        (configs, images, classes) float32 on the CPU.

    Raises:
        UserError: the result alone needs more than ``memory_gib``.
    """
    result = torch.empty(len(scales), len(inputs), len(CLASSES))
    needed = result.numel() * result.element_size()
    for configs, images, logits in _chunks(model, layer, inputs, scales, shifts, memory_gib, needed):
        result[configs, images] = logits
    return result


def sweep_outcomes(
    model: VGGNet,
    layer: str,
    inputs: Tensor,
    labels: Tensor,
    scales: Tensor,
    shifts: Tensor | None = None,
    *,
    memory_gib: float,
    nll_on: Tensor | None = None,
) -> Outcomes:
    """Predictions and mean NLL of every configuration; the logits of more than a chunk of them are never held.

    Args:
        model: in evaluation mode.
        layer: the layer whose rows are scaled.
        inputs: (images, 1, 40, 40), on any device.
        labels: (images,) integers.
        scales: (configs, units).
        shifts: the same shape: what is added to the scaled outputs; None for the layer's own bias, unscaled.
        memory_gib: bound for the cached outputs and the result; the images are split so that both fit.
        nll_on: (images,) bool, the images that the NLL is taken over; None for all.

    Raises:
        UserError: the result alone needs more than ``memory_gib``.
    """
    predictions = np.empty((len(scales), len(inputs)), np.uint8)
    counted = torch.ones(len(inputs), dtype=torch.bool) if nll_on is None else nll_on.cpu()
    total, targets = torch.zeros(len(scales), dtype=torch.float64), labels.long().cpu()
    for configs, images, logits in _chunks(model, layer, inputs, scales, shifts, memory_gib, predictions.nbytes):
        predictions[configs, images] = logits.argmax(-1).byte().numpy()
        some, wanted = logits[:, counted[images]].double(), targets[images][counted[images]]
        losses = F.cross_entropy(some.flatten(0, 1), wanted.repeat(len(some)), reduction="none")
        total[configs] += losses.reshape(len(some), -1).sum(1)
    return Outcomes(predictions, (total / counted.sum()).numpy())


def _chunks(
    model: VGGNet,
    layer: str,
    inputs: Tensor,
    scales: Tensor,
    shifts: Tensor | None,
    memory_gib: float,
    result_bytes: int,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yields which configurations, which images, and their logits on the CPU."""
    left = memory_gib * 2**30 - result_bytes
    if left <= 0:
        raise UserError(
            f"params: edit.memory_gib is {memory_gib}; the results of {len(scales)} configurations on {len(inputs)} "
            f"images alone need {memory_gib - left / 2**30:.2f}"
        )
    chunk = max(1, int(left / (WORKING_COPIES * output_bytes(model, layer))))
    device = model.lin3.weight.device
    bar = progress(total=len(scales) * math.ceil(len(inputs) / chunk), desc=f"edit {layer}", unit="config")
    with bar:
        for start in range(0, len(inputs), chunk):
            images = slice(start, min(start + chunk, len(inputs)))
            evaluator = SuffixEvaluator(model, layer, inputs[images].to(device))
            for first in range(0, len(scales), CONFIGS_AT_ONCE):
                configs = slice(first, min(first + CONFIGS_AT_ONCE, len(scales)))
                yield (
                    configs,
                    images,
                    evaluator.logits(scales[configs], None if shifts is None else shifts[configs]).cpu(),
                )
                bar.update(configs.stop - configs.start)
