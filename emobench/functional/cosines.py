"""Columns made ready for a cosine: their norms, and their centred cubes with norms, in one or two passes."""

from itertools import pairwise

import numpy as np
import torch

from emobench.functional.compiled import compiled, in_threads
from emobench.functional.topk import require_finite

CHUNK = 512
"""Rows summed in float32 before the sum goes on in float64: 28,709 equal numbers would drift otherwise."""
SAFE = (1e-12, 1e12)
"""Norms outside come from squares or sixth powers near the ends of float32: such columns are scaled first."""


def scaled_norms(name: str, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Norms of columns, and the columns, divided by their largest magnitude where float32 would not hold the squares.

    Args:
        name: what an error calls ``values``.
        values: (images, columns).

    Returns:
        values (images, columns), the same object if nothing was scaled, and norms (columns,), 1 where a column is 0.

    Raises:
        ValueError: NaN or infinity.
    """
    norms = torch.linalg.vector_norm(values, dim=0)
    if not torch.isfinite(norms).all():
        require_finite(name, values)
    if not ((norms > SAFE[0]) & (norms < SAFE[1])).all():
        values = values / _magnitudes(values)
        norms = torch.linalg.vector_norm(values, dim=0)
    return values, torch.where(norms > 0, norms, 1)


def centred_cubes(
    name: str, values: torch.Tensor, columns: slice, min_norm: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Some columns minus their mean, cubed, each up to a factor, and what to divide by.

    Args:
        name: what an error calls ``values``.
        values: (images, all columns).
        columns: which, with a start and a stop within ``values``.
        min_norm: norms of the cubed columns count as at least this.

    Returns:
        cubed (images, columns), and norms (columns,).

    Raises:
        ValueError: NaN or infinity.
    """
    scale = torch.ones(columns.stop - columns.start, device=values.device)
    cubed, norms = _cubed(values, columns, scale)
    if not torch.isfinite(norms).all():
        require_finite(name, values)
        scale = _magnitudes(values[:, columns])
        cubed, norms = _cubed(values, columns, scale)
    return cubed, torch.maximum(norms, (min_norm / scale.double() ** 3).float())


def _magnitudes(values: torch.Tensor) -> torch.Tensor:
    largest = torch.maximum(values.amax(0), -values.amin(0))
    return torch.where(largest > 0, largest, 1)


def _cubed(values: torch.Tensor, columns: slice, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """((values - mean) / scale)^3 of some columns and its norms; by compiled loops in main memory."""
    if values.device.type != "cpu":
        return _plain_cubed(values[:, columns], scale)
    array, factor = values.contiguous().numpy(), (1 / scale).numpy()
    cubed = np.empty((len(array), len(factor)), np.float32)
    bounds = np.linspace(0, len(array), 2 * torch.get_num_threads() + 1, dtype=int)
    rows = [slice(*part) for part in pairwise(bounds)]
    sums = in_threads(lambda part: _sums(array[part], columns.start, len(factor)), rows)
    mean = (np.sum(sums, axis=0) / len(array)).astype(np.float32)
    squares = in_threads(lambda part: _cubes(array[part], columns.start, mean, factor, cubed[part]), rows)
    return torch.from_numpy(cubed), torch.from_numpy(np.sqrt(np.sum(squares, axis=0)).astype(np.float32))


def _plain_cubed(values: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The plain path, for any device."""
    centred = (values - values.mean(0, dtype=torch.float64).float()).div_(scale)
    cubed = centred.pow(2).mul_(centred)
    return cubed, torch.linalg.vector_norm(cubed, dim=0)


@compiled
def _sums(values: np.ndarray, first: int, width: int) -> np.ndarray:
    """Sums (width,) over rows, float64, of columns from ``first`` on."""
    total, part = np.zeros(width, np.float64), np.zeros(width, np.float32)
    for i in range(len(values)):
        row = values[i, first : first + width]
        for m in range(width):
            part[m] += row[m]
        if i % CHUNK == CHUNK - 1 or i == len(values) - 1:
            for m in range(width):
                total[m] += part[m]
                part[m] = 0
    return total


@compiled
def _cubes(values: np.ndarray, first: int, mean: np.ndarray, factor: np.ndarray, cubed: np.ndarray) -> np.ndarray:
    """Writes ((value - mean) * factor)^3 to ``cubed``; returns the sums of its squares like ``_sums``."""
    width = len(mean)
    total, part = np.zeros(width, np.float64), np.zeros(width, np.float32)
    for i in range(len(values)):
        row, target = values[i, first : first + width], cubed[i]
        for m in range(width):
            centred = (row[m] - mean[m]) * factor[m]
            cube = centred * centred * centred
            target[m] = cube
            part[m] += cube * cube
        if i % CHUNK == CHUNK - 1 or i == len(values) - 1:
            for m in range(width):
                total[m] += part[m]
                part[m] = 0
    return total
