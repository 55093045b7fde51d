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
        x = images
        for layer in CONV_LAYERS:
            x = F.relu(self.get_submodule(layer.replace("conv", "bn"))(self.get_submodule(layer)(x)))
            if layer.endswith("b"):
                x = self.pool(x)
        x = self.drop(F.relu(self.lin1(x.flatten(1))))
        return self.lin3(self.drop(F.relu(self.lin2(x))))
