"""Evaluating edits of one layer without running what comes before it, and running what follows as seldom as possible.

Scaling a row of a layer's weight scales that unit's output, so the bias-free output is computed once. Up to the next
layer with weights everything acts on each unit alone: with BatchNorm folded in, unit u becomes
relu(scale_u * g_u * output_u + g_u * shift_u + c_u), where max-pooling commutes with what doesn't fall. The next layer
is linear in that, so if only some units change between two configurations, only their part of it is computed again.
Before the last layer, configurations of the same few values are one matrix product (planning).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emobench.errors import UserError, unknown_name
from emobench.networks.cores import one_a_core
from emobench.networks.planning import Group, changes, groups
from emobench.networks.vggnet import INPUT_SIZE, VGGNet
from emobench.params import LAYERS

PREFIX_BATCH = 64
BLOCK_IMAGES = 256
BLOCK_BYTES = 2**25
"""Images are taken through all configurations in blocks: few enough for the caches, enough for quick products."""
GROUP_CONFIGS = 512


class SuffixEvaluator:
    """Logits of a network whose one layer is edited, for many edits of the same layer and the same images.

    Args:
        model: in evaluation mode.
        layer: one of the ten layers before lin3.
        inputs: (images, 1, 40, 40), on the model's device.

    Raises:
        UserError: no such layer, or NaN among the outputs that it computes.
        ValueError: the model is in training mode.
    """

    @torch.no_grad()
    def __init__(self, model: VGGNet, layer: str, inputs: Tensor) -> None:
        if layer not in LAYERS[:-1]:
            raise unknown_name("layer to edit", layer, LAYERS[:-1])
        if model.training:
            raise ValueError("the model is in training mode: dropout and BatchNorm would change with every run")
        self.layer, self.images = layer, len(inputs)
        self._model = model
        self._next = LAYERS[LAYERS.index(layer) + 1]
        self._into_linear = self._next.startswith("lin")
        self._bias = model.get_submodule(layer).bias
        self._gain, self._offset = _folded_norm(model, layer)
        blocks = inputs.split(block_images(model, layer))
        self._blocks = one_a_core(torch.no_grad()(self._cached), blocks, self._bias.device)
        if self._into_linear:
            weight = model.get_submodule(self._next).weight
            # (units, positions of a unit in the next layer's input, outputs)
            self._columns = weight.T.contiguous().reshape(len(self._bias), -1, len(weight))

    @property
    def units(self) -> int:
        """How many rows the layer's weight has."""
        return len(self._bias)

    @torch.no_grad()
    def logits(self, scale: Tensor, shift: Tensor | None = None) -> Tensor:
        """Logits with the layer's output replaced by scale * (bias-free output) + shift.

        Args:
            scale: (units,) or (configs, units). Configurations that follow each other are quick where few units differ.
            shift: the same shape; None for the layer's own bias, unscaled (the seed's edit).

        Returns:
            (images, classes) or (configs, images, classes), float32.

        Raises:
            ValueError: shapes that don't fit, or values that are not finite.
        """
        scales = self._checked("scale", scale)
        shifts = self._bias.expand(scales.shape) if shift is None else self._checked("shift", shift)
        if shifts.shape != scales.shape or (shift is not None and shift.ndim != scale.ndim):
            raise ValueError(f"shift is {tuple(shift.shape)} and scale {tuple(scale.shape)}; expected the same shape")
        last = self._next == LAYERS[-1]
        alike = groups(scales, None if shift is None else shifts, self._bias) if last else []
        singly = sorted(set(range(len(scales))) - {config for group in alike for config in group.configs.tolist()})
        single = scales[singly], shifts[: len(singly)] if shift is None else shifts[singly]
        run, rows = self._linear_outputs if self._into_linear else self._conv_outputs, changes(*single, last)

        @torch.no_grad()
        def block_logits(block: _Block) -> Tensor:
            logits = scales.new_empty(len(scales), block.images, self._model.lin3.out_features)
            for config, outputs in zip(singly, run(block, *single, rows), strict=True):
                logits[config] = self._model.forward_after(self._next, outputs)
            for group in alike:
                logits[group.configs] = self._group_logits(block, group, scales[group.configs])
            return logits

        result = torch.cat(one_a_core(block_logits, self._blocks, self._bias.device), dim=1)
        return result.reshape(*scale.shape[:-1], *result.shape[1:])

    def unedited(self) -> Tensor:
        """Logits (images, classes) of the network as it is, by the same computation: bit-equal to a scale of one."""
        return self.logits(torch.ones(self.units, device=self._bias.device))

    def _group_logits(self, block: "_Block", group: Group, scales: Tensor) -> Tensor:
        """Logits (configs, images, classes) of a group's configurations; ``scales`` are theirs."""
        last = self._model.lin3
        start = self._active(block, *group.base)
        base = torch.addmm(last.bias.unsqueeze(-1), last.weight, start.flatten(0, 1))
        total = base.reshape(1, -1).repeat(len(scales), 1)
        terms = start.new_empty(self.units, *base.shape)
        for index, other in enumerate(group.others):
            # (units, 1, images) by (units, classes, 1): what each unit adds to each logit where it takes this value.
            torch.mul(self._active(block, *other).sub_(start), self._columns.transpose(1, 2), out=terms)
            for some, sums in zip(scales.split(GROUP_CONFIGS), total.split(GROUP_CONFIGS), strict=True):
                sums.addmm_(group.coefficients(some, index), terms.flatten(1))
        return total.reshape(-1, *base.shape).transpose(1, 2)

    def _checked(self, name: str, values: Tensor) -> Tensor:
        """(units,) or (configs, units) to float32 (configs, units)."""
        if values.ndim not in (1, 2) or values.shape[-1] != self.units:
            expected = f"({self.units},) or (configs, {self.units})"
            raise ValueError(f"{name} is {tuple(values.shape)} for {self.layer}; expected {expected}")
        if not values.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")
        return values.reshape(-1, self.units).to(self._bias.device, torch.float32)

    def _cached(self, batch: Tensor) -> "_Block":
        outputs = torch.cat([self._bias_free(part) for part in batch.split(PREFIX_BATCH)])
        if outputs.isnan().any():
            raise UserError(f"layer {self.layer} gives NaN; the network's weights or its inputs are broken")
        rising, falling = outputs, None
        if self.layer.endswith("b"):
            # Pooling takes the largest output where the unit's factor is positive, and the smallest where it is not.
            high, low = self._model.pool(outputs), -self._model.pool(-outputs)
            positive = (self._gain >= 0)[:, None, None]
            rising, falling = torch.where(positive, high, low), torch.where(positive, low, high)
        if self._into_linear:
            rising, falling = self._units_first(rising), self._units_first(falling)
        return _Block(len(batch), rising, falling)

    def _units_first(self, outputs: Tensor | None) -> Tensor | None:
        """(images, units, ...) to (units, positions, images): then the outputs of some units lie together."""
        return None if outputs is None else outputs.reshape(len(outputs), self.units, -1).permute(1, 2, 0).contiguous()

    def _bias_free(self, images: Tensor) -> Tensor:
        module, inputs = self._model.get_submodule(self.layer), self._model.inputs_of(self.layer, images)
        if isinstance(module, nn.Linear):
            return F.linear(inputs, module.weight)
        return F.conv2d(inputs, module.weight, padding=module.padding)

    def _active(
        self, block: "_Block", scale: Tensor, shift: Tensor, out: Tensor | None = None, rows=slice(None)
    ) -> Tensor:
        """What the next layer gets: relu(scale * gain * outputs + gain * shift + offset), for some or all units."""
        scale, shift, gain, offset = (values[rows, None, None] for values in (scale, shift, self._gain, self._offset))
        outputs = block.rising[rows] if self._into_linear else block.rising
        if block.falling is not None and (scale < 0).any():
            outputs = torch.where(scale < 0, block.falling[rows] if self._into_linear else block.falling, outputs)
        # Separate passes over a block that fits the cache: torch has vectorised loops for each of them, not for all.
        return torch.mul(outputs, scale * gain, out=out).add_(gain * shift + offset).relu_()

    def _conv_outputs(self, block: "_Block", scales: Tensor, shifts: Tensor, changed: list) -> Iterator[Tensor]:
        """The next convolution's output for each configuration: (images, channels, height, width)."""
        following, buffer = self._model.get_submodule(self._next), torch.empty_like(block.rising)
        for scale, shift in zip(scales, shifts, strict=True):
            yield following(self._active(block, scale, shift, out=buffer))

    def _linear_outputs(self, block: "_Block", scales: Tensor, shifts: Tensor, changed: list) -> Iterator[Tensor]:
        """The next linear layer's output for each configuration: (images, features), the same memory every time."""
        bias = self._model.get_submodule(self._next).bias.unsqueeze(-1)
        total, buffer = torch.empty(len(bias), block.images, device=bias.device), torch.empty_like(block.rising)
        for config, rows in enumerate(changed):
            if rows is None:
                active = self._active(block, scales[config], shifts[config], out=buffer)
                torch.addmm(bias, self._columns.flatten(0, 1).T, active.flatten(0, 1), out=total)
            elif len(rows):
                change = self._active(block, scales[config], shifts[config], rows=rows)
                change -= self._active(block, scales[config - 1], shifts[config - 1], rows=rows)
                total.addmm_(self._columns[rows].flatten(0, 1).T, change.flatten(0, 1))
            yield total.T


@torch.no_grad()
def output_bytes(model: VGGNet, layer: str) -> int:
    """Size of one image's outputs of a layer: at least what SuffixEvaluator keeps of each image."""
    module = model.get_submodule(layer)
    outputs = module(model.inputs_of(layer, module.weight.new_zeros(1, 1, INPUT_SIZE, INPUT_SIZE)))
    return outputs.numel() * outputs.element_size()


def block_images(model: VGGNet, layer: str) -> int:
    """How many images SuffixEvaluator takes through all configurations at a time."""
    return min(BLOCK_IMAGES, max(1, BLOCK_BYTES // output_bytes(model, layer)))


@dataclass(frozen=True)
class _Block:
    """Bias-free outputs of some images, pooled: for scales that are not negative, and for the others if that differs.

    (images, units, height, width) before a convolution, (units, positions, images) before a linear layer.
    """

    images: int
    rising: Tensor
    falling: Tensor | None


def _folded_norm(model: VGGNet, layer: str) -> tuple[Tensor, Tensor]:
    """BatchNorm after a convolution as gain * x + offset for each unit; one and zero after a linear layer."""
    bias = model.get_submodule(layer).bias
    if not layer.startswith("conv"):
        return torch.ones_like(bias), torch.zeros_like(bias)
    norm = model.get_submodule(layer.replace("conv", "bn"))
    gain = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return gain, norm.bias - gain * norm.running_mean
