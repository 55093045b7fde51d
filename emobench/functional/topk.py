"""The most activating images of every unit. Axes: activations (images, units), ranks first in the result."""

import torch

SORTED_AT_ONCE = 1 << 25
"""Activations sorted in one go: their sorted copy and int64 indices take 12 bytes each."""


def require_finite(name: str, values: torch.Tensor) -> None:
    """Raises ValueError naming ``name`` where ``values`` holds a NaN or an infinity. Makes no copy."""
    if values.numel() and not all(torch.isfinite(extreme) for extreme in torch.aminmax(values)):
        wrong = int((~torch.isfinite(values)).sum())
        raise ValueError(f"{name}: expected finite numbers; got {wrong} NaN or infinite of {values.numel()}")


def top_images(activations: torch.Tensor, k: int) -> torch.Tensor:
    """Finds the ``k`` images that activate each unit most.

    Args:
        activations: (images, units), float32.
        k: how many, 1 <= k <= images.

    Returns:
        Image indices (k, units), int64, the most activating first; images with equal activation stand by index.

    Raises:
        ValueError: activations of another shape or not finite, or ``k`` out of range.

    >>> top_images(torch.tensor([[0.0, 5.0], [2.0, 5.0], [1.0, 4.0]]), 2)
    tensor([[1, 0],
            [2, 1]])
    """
    if activations.ndim != 2 or 0 in activations.shape:
        raise ValueError(f"activations: expected (images, units), none empty; got shape {tuple(activations.shape)}")
    if not 1 <= k <= len(activations):
        raise ValueError(f"k: expected 1 to {len(activations)}, the number of images; got {k}")
    require_finite("activations", activations)
    return sorted_top_images(activations, k)


def sorted_top_images(activations: torch.Tensor, k: int) -> torch.Tensor:
    """The same by a stable sort, on any device and without checks."""
    units = max(1, SORTED_AT_ONCE // len(activations))
    blocks = activations.split(units, dim=1)
    return torch.cat([torch.sort(b, dim=0, descending=True, stable=True).indices[:k] for b in blocks], dim=1)
