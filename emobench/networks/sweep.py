"""Evaluating many configurations of one layer on one set of images within a bound of memory."""

import math

import torch
from torch import Tensor

from emobench.errors import UserError
from emobench.networks.suffix import SuffixEvaluator, output_bytes
from emobench.networks.vggnet import VGGNet
from emobench.progress import progress
from emobench.vocabulary import CLASSES

CONFIGS_AT_ONCE = 64
WORKING_COPIES = 4
"""How many copies of an image's outputs exist at the worst moment, while a block of the cache is made."""


def sweep_logits(model: VGGNet, layer: str, inputs: Tensor, scales: Tensor, *, memory_gib: float) -> Tensor:
    """Logits of every configuration on every image.

    Args:
        model: in evaluation mode.
        layer: the layer whose rows are scaled.
        inputs: (images, 1, 40, 40), on any device.
        scales: (configs, units).
        memory_gib: bound for the cached outputs and the result; the images are split so that both fit.

    Returns:
        (configs, images, classes) float32 on the CPU.

    Raises:
        UserError: the result alone needs more than ``memory_gib``.
    """
    result = torch.empty(len(scales), len(inputs), len(CLASSES))
    left = memory_gib * 2**30 - result.numel() * result.element_size()
    if left <= 0:
        raise UserError(
            f"params: edit.memory_gib is {memory_gib}; the logits of {len(scales)} configurations on {len(inputs)} "
            f"images alone need {memory_gib - left / 2**30:.2f}"
        )
    chunk = max(1, int(left / (WORKING_COPIES * output_bytes(model, layer))))
    device = model.lin3.weight.device
    bar = progress(total=len(scales) * math.ceil(len(inputs) / chunk), desc=f"edit {layer}", unit="config")
    with bar:
        for start in range(0, len(inputs), chunk):
            part = inputs[start : start + chunk]
            evaluator = SuffixEvaluator(model, layer, part.to(device))
            for first in range(0, len(scales), CONFIGS_AT_ONCE):
                logits = evaluator.logits(scales[first : first + CONFIGS_AT_ONCE])
                result[first : first + len(logits), start : start + len(part)] = logits.cpu()
                bar.update(len(logits))
    return result
