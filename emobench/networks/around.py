"""What stands around a network: one of its several outputs, or its outputs in the order of the data set's classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emobench.errors import UserError


class Around(nn.Module):
    """Something around a network whose layers and weights keep their names: it has the network's own, not copies."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.inner = (network,)
        self._modules, self._parameters, self._buffers = network._modules, network._parameters, network._buffers

    def train(self, mode: bool = True) -> "Around":
        """As torch does, the network within too."""
        self.inner[0].train(mode)
        return super().train(mode)


class Ordered(Around):
    """A network's outputs, of which each has a name, in the order of the data set's classes."""

    def __init__(self, network: nn.Module, outputs: Sequence[str], classes: Sequence[str]) -> None:
        super().__init__(network)
        self.order = tuple(outputs.index(name) for name in classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (images, classes)."""
        logits = self.inner[0](images)
        return torch.stack([logits[:, place] for place in self.order], 1)


class Selected(Around):
    """A network that puts out several tensors, and the one of them that holds the logits."""

    def __init__(self, network: nn.Module, output: str | int) -> None:
        super().__init__(network)
        self.output = output

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        outputs = self.inner[0](images)
        try:
            return outputs[self.output]
        except (KeyError, IndexError, TypeError):
            raise UserError(f"network.output: the network puts out no {self.output!r}") from None
