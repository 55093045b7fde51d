"""A network ready to be asked: its model in evaluation mode, and the card that says what goes in and comes out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from emobench.networks.card import LayerCard, NetworkCard
from emobench.networks.graph import answer
from emobench.networks.transform import to_inputs


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

    def inputs(self, images: np.ndarray) -> Tensor:
        """What the model takes, on its device, of pictures uint8 (n, height, width) or (n, height, width, 3)."""
        return to_inputs(images, self.card.input).to(self.device)

    def pictures(self, images: np.ndarray, rows: np.ndarray | None = None) -> "Pictures":
        """The same of some rows (None: all) of an array that may be memory-mapped, made when it is needed."""
        return Pictures(self.inputs, images, np.arange(len(images)) if rows is None else np.asarray(rows))

    @torch.no_grad()
    def logits(self, images: np.ndarray, batch_size: int = 64) -> Tensor:
        """Logits (n, classes) on the CPU of pictures, which may be memory-mapped, in batches."""
        parts = range(0, len(images), batch_size)
        return torch.cat(
            [answer(self.model, self.inputs(images[start : start + batch_size])).cpu() for start in parts]
            or [torch.empty(0, len(self.classes))]
        )

    def __reduce__(self) -> tuple:
        # A user's own classes can't be imported by name in another process: the network is built again there.
        from emobench.networks.sources import rebuilt

        state = {name: value.detach().cpu().numpy() for name, value in self.model.state_dict().items()}
        return rebuilt, (self.card, state, str(self.device))


@dataclass(frozen=True)
class Pictures:
    """Inputs of a network that are made by blocks: ``pictures[5:9]`` and ``pictures[tensor]`` are tensors."""

    transform: Callable[[np.ndarray], Tensor]
    images: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, some: slice | Tensor) -> Tensor:
        rows = self.rows[some.cpu().numpy() if isinstance(some, Tensor) else some]
        # One read in the order of the file, whatever the order that is asked for.
        order = np.argsort(rows, kind="stable")
        block = np.asarray(self.images[rows[order]])
        return self.transform(block[np.argsort(order, kind="stable")])
