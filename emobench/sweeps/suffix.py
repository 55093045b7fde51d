"""Evaluating edits of one layer without running what comes before it, and running what follows as seldom as possible.

Scaling a row of a layer's weight scales that unit's output, so the bias-free output is computed once. As long as
everything acts on each unit alone (networks.front) that much is one form; if the next operation is linear, only the
part of it that changed between two configurations is computed again, and before the logits configurations of the same
few values are one matrix product (planning). Elsewhere all that depends on the edit runs for each configuration.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from emobench.cores import one_a_core
from emobench.networks.cut import Cut, WholeCut, cut
from emobench.networks.network import Network, Pictures
from emobench.sweeps.fronts import FrontRun, PlainRun
from emobench.sweeps.planning import Group, changes, groups

BLOCK_IMAGES = 256
BLOCK_BYTES = 2**25
"""Images are taken through all configurations in blocks: few enough for the caches, enough for quick products."""


class SuffixEvaluator:
    """Logits of a network whose one layer is edited, for many edits of the same layer and the same images.

    Args:
        model: in evaluation mode; or a Network; or what ``cut`` made of one, to cut it once for many evaluators.
        layer: its name, as ``unit_layers`` has it.
        inputs: what the network takes, (images, ...), on its device; or a ``Pictures``, which makes them by blocks.

    Raises:
        UserError: no such layer, NaN among the outputs that it computes, or a network that can't be cut.
        ValueError: the model is in training mode.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module | Network | Cut | WholeCut, layer: str, inputs: Tensor | Pictures) -> None:
        at = model if isinstance(model, Cut | WholeCut) else cut(model, layer, inputs[:2])
        if at.layers != (layer,):
            raise ValueError(f"the network was cut at {', '.join(at.layers)}; expected {layer}")
        self.layer, self.units, self.images = layer, at.units[layer], len(inputs)
        self._bias = at.bias[layer]
        self._run = FrontRun(at, layer) if at.way == "cut" and at.calls[layer] == 1 else PlainRun(at, layer)
        # Hooks on one network can't serve several threads.
        self._alone = at.way == "whole"
        size = block_images(self._run)
        starts = range(0, len(inputs), size)
        self._most = min(size, len(inputs))
        self._blocks = self._on_each(lambda start: self._run.cached(inputs[start : start + size]), starts)

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
        if shift is not None and (shifts.shape != scales.shape or shift.ndim != scale.ndim):
            raise ValueError(f"shift is {tuple(shift.shape)} and scale {tuple(scale.shape)}; expected the same shape")
        alike: list[Group] = []
        run, front = self._run, self._run if isinstance(self._run, FrontRun) else None
        if front is not None and front.last and front.groups_fit(self._most):
            own = None if shift is None else shifts
            alike = groups(scales, own, self._bias, homogeneous=front.front.homogeneous)
        singly = sorted(set(range(len(scales))) - {config for group in alike for config in group.configs.tolist()})
        single = scales[singly], shifts[: len(singly)] if shift is None else shifts[singly]
        rows = changes(*single, run.last) if run.changes else [None] * len(singly)

        def block_logits(block: Any) -> Tensor:
            found: dict[int, Tensor] = {}
            for config, logits in zip(singly, run.logits(block, *single, rows), strict=True):
                found[config] = logits.clone()
            if front is not None:
                for group in alike:
                    together = front.group_logits(block, group, scales[group.configs])
                    found |= zip(group.configs.tolist(), together, strict=True)
            return torch.stack([found[config] for config in range(len(scales))])

        result = torch.cat(self._on_each(block_logits, self._blocks), dim=1)
        return result.reshape(*scale.shape[:-1], *result.shape[1:])

    def unedited(self) -> Tensor:
        """Logits (images, classes) of the network as it is, by the same computation: bit-equal to a scale of one."""
        return self.logits(torch.ones(self.units, device=self._bias.device))

    def _checked(self, name: str, values: Tensor) -> Tensor:
        """(units,) or (configs, units) to float32 (configs, units)."""
        if values.ndim not in (1, 2) or values.shape[-1] != self.units:
            expected = f"({self.units},) or (configs, {self.units})"
            raise ValueError(f"{name} is {tuple(values.shape)} for {self.layer}; expected {expected}")
        if not values.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")
        return values.reshape(-1, self.units).to(self._bias.device, self._bias.dtype)

    def _on_each(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Applies a function without gradients to each item, one item a core where that can be."""
        call = torch.no_grad()(function)
        return list(map(call, items)) if self._alone else one_a_core(call, items, self._bias.device)


def block_images(run: FrontRun | PlainRun) -> int:
    """How many images are taken through all configurations at a time."""
    return min(BLOCK_IMAGES, max(1, BLOCK_BYTES // run.image_bytes)) if isinstance(run, FrontRun) else 64
