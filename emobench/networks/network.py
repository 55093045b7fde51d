"""A network ready to be asked: its model in evaluation mode, and the card that says what goes in and comes out."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from emobench.networks.card import InputCard, LayerCard, NetworkCard
from emobench.networks.graph import answer
from emobench.networks.transform import to_inputs
from emobench.progress import progress

IN_MEMORY = 2**28
"""Bytes of inputs that are made once and held; of more, blocks are made when they are needed."""


@dataclass(frozen=True)
class Network:
    """A model with its card."""

    model: nn.Module
    card: NetworkCard

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs, in their order."""
        return self.card.classes

    @property
    def layers(self) -> tuple[LayerCard, ...]:
        """In the order of computation."""
        return self.card.layers

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next((value.device for value in self.model.parameters()), torch.device("cpu"))

    def to(self, device: str | torch.device) -> "Network":
        """The same network, its model moved there."""
        return Network(self.model.to(device), self.card)

    def channels_last(self) -> None:
        """Lays the weights of convolutions out as they are quickest; their values stay."""
        if all(value.ndim < 5 for value in self.model.parameters()):
            self.model.to(memory_format=torch.channels_last)

    def inputs(self, images: np.ndarray) -> Tensor:
        """What the model takes, on its device, of pictures uint8 (n, height, width) or (n, height, width, 3)."""
        return _inputs(images, self.card.input, str(self.device))

    def pictures(self, images: np.ndarray, rows: np.ndarray, digest: str = "") -> "Pictures":
        """The same of some rows of an array that may be memory-mapped, made when it is needed."""
        transform = partial(_inputs, card=self.card.input, device=str(self.device))
        return Pictures(transform, images, np.asarray(rows), f"{digest} {self.card.input}")

    def given(self, images: np.ndarray, rows: np.ndarray, digest: str) -> "Tensor | Pictures":
        """Inputs of some rows of the images with this digest: in memory if they are few, else as ``Pictures``."""
        pictures = self.pictures(images, rows, digest)
        size = math.prod((len(rows), self.card.input.channels, *self.card.input.size)) * 4
        return pictures[:] if size <= IN_MEMORY else pictures

    @torch.inference_mode()
    def logits(self, images: np.ndarray, rows: np.ndarray | None = None, batch_size: int = 64) -> Tensor:
        """Logits (n, classes) float32 on the CPU of some rows (None: all) of an array that may be memory-mapped."""
        rows = np.arange(len(images)) if rows is None else rows
        parts = [torch.empty(0, len(self.classes))]
        for start in progress(range(0, len(rows), batch_size), desc="predict", unit="batch"):
            inputs = self.inputs(images[rows[start : start + batch_size]])
            parts.append(answer(self.model, inputs.contiguous(memory_format=torch.channels_last)).float().cpu())
        return torch.cat(parts)

    def __reduce__(self) -> tuple:
        # A user's own classes can't be imported by name in another process: the network is built again there.
        from emobench.networks.sources import rebuilt

        state = {name: value.detach().cpu().numpy() for name, value in self.model.state_dict().items()}
        return rebuilt, (self.card, state, str(self.device))


def module_of(model: "nn.Module | Network") -> nn.Module:
    """The module itself, whichever of the two is given."""
    return model.model if isinstance(model, Network) else model


@dataclass(frozen=True)
class Pictures:
    """Inputs of a network that are made by blocks: ``pictures[5:9]`` and ``pictures[tensor]`` are tensors.

    ``digest`` tells the images and what is made of them from others, in any process.
    """

    transform: Callable[[np.ndarray], Tensor]
    images: np.ndarray
    rows: np.ndarray
    digest: str = ""

    def taken(self, places: Tensor) -> "Pictures":
        """Some of them."""
        return replace(self, rows=self.rows[places.numpy()])

    def key(self) -> str:
        """Tells them from others, without a look at their pixels."""
        rows = hashlib.sha256(np.ascontiguousarray(self.rows).data).hexdigest()
        return f"{self.digest} {rows}"

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, some: slice | Tensor) -> Tensor:
        rows = self.rows[some.cpu().numpy() if isinstance(some, Tensor) else some]
        # One read in the order of the file, whatever the order that is asked for.
        order = np.argsort(rows, kind="stable")
        block = np.asarray(self.images[rows[order]])
        return self.transform(block[np.argsort(order, kind="stable")])


def _inputs(images: np.ndarray, card: InputCard, device: str) -> Tensor:
    return to_inputs(images, card).to(device)
