"""Random changes of training images, on whole batches: one grid_sample instead of a loop over pictures."""

import math

import torch
from torch.nn import functional as F

from emobench.settings.data import Augment


def augment(images: torch.Tensor, params: Augment, generator: torch.Generator) -> torch.Tensor:
    """Rotates, moves, scales, mirrors and erases each image by its own random amounts.

    Args:
        images: (images, channels, height, width), float, values in [0, 1].
        params: largest rotation (degrees), shift (share of the side), change of scale (share), and the probabilities
            of mirroring and of erasing one rectangle.
        generator: the source of randomness, on the CPU.

    Returns:
        A new tensor of the same shape; pixels that come from outside take the border's value.
    """
    count = len(images)
    draws = torch.rand(count, 9, generator=generator)
    spread = 2 * draws[:, :4] - 1
    angle = spread[:, 0] * math.radians(params.degrees)
    scale = 1 + spread[:, 1] * params.scale
    mirror = torch.where(draws[:, 4] < params.flip, -1.0, 1.0)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    shift = 2 * params.translate * spread[:, 2:4]
    rows = torch.stack([cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], dim=1)
    grid = F.affine_grid(rows.view(count, 2, 3), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid.to(images), mode="bilinear", padding_mode="border", align_corners=False)
    return _erase(moved, draws[:, 5:], params.erase)


def _erase(images: torch.Tensor, draws: torch.Tensor, probability: float) -> torch.Tensor:
    """Sets one rectangle (sides .1 to .4 of the picture's) to the image's mean colour, in a share of images."""
    height, width = images.shape[2:]
    sides = 0.1 + 0.3 * draws[:, 1:3]
    # The probability is spent on the first draw; what is left of it, rescaled, places the rectangle across.
    chosen = draws[:, 0] < probability
    across = torch.where(chosen, draws[:, 0] / max(probability, 1e-9), 0.0) * (1 - sides[:, 1])
    down = draws[:, 3] * (1 - sides[:, 0])
    y = (torch.arange(height) + 0.5) / height
    x = (torch.arange(width) + 0.5) / width
    in_rows = (y >= down[:, None]) & (y < (down + sides[:, 0])[:, None])
    in_columns = (x >= across[:, None]) & (x < (across + sides[:, 1])[:, None])
    hole = (in_rows[:, :, None] & in_columns[:, None, :] & chosen[:, None, None])[:, None].to(images.device)
    return torch.where(hole, images.mean(dim=(2, 3), keepdim=True), images)
