"""VGGNet, the seed's network for FER2013 (Khairuddin and Chen, 2021, arXiv:2105.03588, figure 2)."""

import torch
from torch import nn
from torch.nn import functional as F

CHANNELS = (64, 128, 256, 512)
CONV_LAYERS = tuple(f"conv{block}{half}" for block in (1, 2, 3, 4) for half in "ab")
LAYERS = (*CONV_LAYERS, "lin1", "lin2", "lin3")
HIDDEN = 4096
INPUT_SIZE = 40


class VGGNet(nn.Module):
    """Four blocks of two 3x3 convolutions with BatchNorm, ReLU and max-pool, then three linear layers.

    Args:
        width: scales the channels of the convolutions and of lin1 and lin2; 1.0 is the published network.
        dropout: probability after lin1 and lin2.
        classes: how many.

    Input (images, 1, 40, 40) in [0, 1]; output logits (images, classes).
    """

    def __init__(self, width: float = 1.0, dropout: float = 0.2, classes: int = 7) -> None:
        super().__init__()
        previous = 1
        for block, published in enumerate(CHANNELS, start=1):
            channels = max(1, round(published * width))
            for half, inputs in (("a", previous), ("b", channels)):
                self.add_module(f"conv{block}{half}", nn.Conv2d(inputs, channels, 3, padding=1))
                self.add_module(f"bn{block}{half}", nn.BatchNorm2d(channels))
            previous = channels
        hidden = max(1, round(HIDDEN * width))
        self.pool = nn.MaxPool2d(2)
        self.lin1 = nn.Linear(previous * 4, hidden)
        self.lin2 = nn.Linear(hidden, hidden)
        self.lin3 = nn.Linear(hidden, classes)
        self.drop = nn.Dropout(dropout)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (images, classes)."""
        return self.forward_after(None, images)

    def forward_after(self, layer: str | None, outputs: torch.Tensor) -> torch.Tensor:
        """Runs what follows ``layer``, from that layer's output (before BatchNorm and ReLU) to the logits.

        Args:
            layer: a layer's name; None for the whole network, then ``outputs`` are the images.
            outputs: (images, channels, height, width) after a convolution, (images, units) after a linear layer.
        """
        x = outputs if layer is None else self.activate(layer, outputs)
        for name in LAYERS[0 if layer is None else LAYERS.index(layer) + 1 :]:
            x = self.activate(name, self.get_submodule(name)(x))
        return x

    def inputs_of(self, layer: str, images: torch.Tensor) -> torch.Tensor:
        """What ``layer`` gets when the network is given ``images`` (images, 1, 40, 40)."""
        x = images
        for name in LAYERS[: LAYERS.index(layer)]:
            x = self.activate(name, self.get_submodule(name)(x))
        return x

    def activate(self, layer: str, outputs: torch.Tensor) -> torch.Tensor:
        """What stands between ``layer`` and the next one: BatchNorm, ReLU and pooling, or ReLU and dropout."""
        if layer == LAYERS[-1]:
            return outputs
        if not layer.startswith("conv"):
            return self.drop(F.relu(outputs))
        x = F.relu(self.get_submodule(layer.replace("conv", "bn"))(outputs))
        if layer.endswith("b"):
            x = self.pool(x)
        return x.flatten(1) if layer == CONV_LAYERS[-1] else x
