"""A network as a user would write it: takes colours, and ends in a layer whose units are the classes."""

import torch
from torch import nn


class Own(nn.Module):
    """Takes 3 x 32 x 32."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, width, 3, stride=2)
        self.norm = nn.BatchNorm2d(width)
        self.again = nn.Conv2d(width, 2 * width, 3, stride=2, bias=False)
        self.think = nn.Linear(2 * width, 12)
        self.say = nn.Linear(12, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        seen = self.again(self.norm(self.look(images)).relu()).relu().mean((2, 3))
        return self.say(self.think(seen).relu())


def build(classes: int, width: int = 4):
    """For ``own_network.py:build``."""
    return Own(classes, width), {"channels": 3, "size": (32, 32), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
