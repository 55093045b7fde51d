"""Deep-Emotion, a small network with a spatial transformer (after Minaee and Abdolrashidi, 2019, arXiv:1902.01019)."""

import torch
from torch import nn
from torch.nn import functional as F

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Alphabetical: of the published weights."""


class DeepEmotion(nn.Module):
    """The form in which its weights for FER2013 were published.

    Args:
        classes: how many.
        dropout: probability before fc1. The published code leaves it on in evaluation (``always``), by accident.
        always: whether dropout is on in evaluation too; the answers are random then.

    Input (images, 3, 48, 48) in [0, 1]; output logits (images, classes).
    """

    def __init__(self, classes: int = 7, dropout: float = 0.5, always: bool = False) -> None:
        super().__init__()
        self.dropout, self.always = dropout, always
        self.conv1 = nn.Conv2d(3, 10, 3)
        self.conv2 = nn.Conv2d(10, 10, 3)
        self.conv3 = nn.Conv2d(10, 10, 3)
        self.conv4 = nn.Conv2d(10, 10, 3)
        self.norm = nn.BatchNorm2d(10)
        self.fc1 = nn.Linear(810, 50)
        self.fc2 = nn.Linear(50, classes)
        self.localization = nn.Sequential(
            nn.Conv2d(3, 8, 7), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(8, 10, 5), nn.MaxPool2d(2), nn.ReLU()
        )
        self.fc_loc = nn.Sequential(nn.Linear(640, 32), nn.ReLU(), nn.Linear(32, 6))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (images, classes)."""
        x = self.transformed(images)
        x = F.relu(self.conv1(x))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.relu(self.conv3(x))
        x = F.relu(F.max_pool2d(self.norm(self.conv4(x)), 2))
        x = F.dropout(x, self.dropout, training=self.training or self.always)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))

    def transformed(self, images: torch.Tensor) -> torch.Tensor:
        """The images as the spatial transformer turns, shifts and scales them."""
        theta = self.fc_loc(self.localization(images).flatten(1)).reshape(-1, 2, 3)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, align_corners=False)
