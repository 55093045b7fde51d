"""Recording units while a model runs, in a ``with`` block that leaves the model as it was, also after an exception."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from emobench.errors import unknown_name
from emobench.networks.recorder import Recorder


class Recording:
    """What was seen: ``recording[layer]`` is (images, units), all batches since the start or the last clear."""

    def __init__(self, layers: Sequence[str]) -> None:
        self._batches: dict[str, list[Tensor]] = {layer: [] for layer in layers}

    def __getitem__(self, layer: str) -> Tensor:
        if layer not in self._batches:
            raise unknown_name("recorded layer", layer, self._batches)
        if not self._batches[layer]:
            raise RuntimeError(f"layer {layer!r} has not run since the recording began")
        return torch.cat(self._batches[layer])

    def add(self, layer: str, units: Tensor) -> None:
        """Appends one batch of pooled units (images, units)."""
        self._batches[layer].append(units)

    def clear(self) -> None:
        """Forgets all batches, so that memory stays that of one."""
        for batches in self._batches.values():
            batches.clear()


@contextmanager
def recorded(model: nn.Module, layers: Sequence[str], pool: str = "avg", tokens: str = "mean") -> Iterator[Recording]:
    """Records ``layers`` while the block runs: ``model(inputs)`` then ``recording[layer]`` (images, units).

    Args:
        model: in evaluation mode.
        layers: names, as ``unit_layers`` has them.
        pool: as for ``Recorder``.
        tokens: as for ``Recorder``.

    Raises:
        UserError: at the first call, if there is no such layer.
    """
    recording, recorders = Recording(layers), {}
    # In the instance, so that torch's own call finds it before the class's.
    before = model.__dict__.get("forward")

    def forward(inputs: Tensor) -> Tensor:
        if before is None:
            del model.forward
        else:
            model.forward = before
        try:
            shape = tuple(inputs.shape[1:])
            if shape not in recorders:
                recorders[shape] = Recorder(model, layers, inputs, pool, tokens)
            logits, units = recorders[shape](inputs)
        finally:
            model.forward = forward
        for layer, values in units.items():
            recording.add(layer, values)
        return logits

    model.forward = forward
    try:
        yield recording
    finally:
        del model.forward
        if before is not None:
            model.forward = before
