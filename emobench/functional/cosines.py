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
    norms = _norms(values)
    if not torch.isfinite(norms).all():
        require_finite(name, values)
    if not ((norms > SAFE[0]) & (norms < SAFE[1])).all():
        values = values / _magnitudes(values)
        norms = _norms(values)
    return values, torch.where(norms > 0, norms, 1)


def column_means(name: str, values: torch.Tensor) -> torch.Tensor:
    """Means (columns,) of (images, columns), summed in float64; ValueError, naming ``name``, for NaN or infinity."""
    if values.device.type == "cpu":
        array, rows = _row_parts(values)
        sums = in_threads(lambda part: _sums(array[part], False), rows)
        means = torch.from_numpy((np.sum(sums, axis=0) / len(array)).astype(np.float32))
    else:
        means = values.mean(0, dtype=torch.float64).float()
    if not torch.isfinite(means).all():
        require_finite(name, values)
    return means


def centred_cubes(
    values: torch.Tensor, means: torch.Tensor, columns: slice, min_norm: float, out: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Some columns minus their mean, cubed, each up to a factor, and what to divide by.

    Args:
        values: (images, all columns).
        means: (all columns,).
        columns: which, with a start and a stop within ``values``.
        min_norm: norms of the cubed columns count as at least this.
        out: room for images times columns numbers: fresh memory costs as much as the work.

    Returns:
        cubed (images, columns), in ``out``, and norms (columns,).
    """
    scale = torch.ones_like(means[columns])
    cubed, norms = _cubed(values, means, columns, scale, out)
    if not torch.isfinite(norms).all():
        scale = _magnitudes(values[:, columns])
        cubed, norms = _cubed(values, means, columns, scale, out)
    return cubed, torch.maximum(norms, (min_norm / scale.double() ** 3).float())


def room_beside(values: torch.Tensor, columns: int) -> torch.Tensor:
    """Uninitialised (images, columns) for ``centred_cubes``; in main memory from NumPy, which asks for large pages."""
    if values.device.type != "cpu":
        return values.new_empty(len(values), columns)
    return torch.from_numpy(np.empty((len(values), columns), np.float32))


def _magnitudes(values: torch.Tensor) -> torch.Tensor:
    largest = torch.maximum(values.amax(0), -values.amin(0))
    return torch.where(largest > 0, largest, 1)


def _row_parts(values: torch.Tensor) -> tuple[np.ndarray, list[slice]]:
    """The matrix as an array, and its rows cut for threads."""
    bounds = np.linspace(0, len(values), 8 * torch.get_num_threads() + 1, dtype=int)
    return values.contiguous().numpy(), [slice(*part) for part in pairwise(bounds)]


def _norms(values: torch.Tensor) -> torch.Tensor:
    """Norms of columns; by compiled loops in main memory, where torch takes longer for them than for the product."""
    if values.device.type != "cpu":
        return torch.linalg.vector_norm(values, dim=0)
    array, rows = _row_parts(values)
    squares = in_threads(lambda part: _sums(array[part], True), rows)
    return torch.from_numpy(np.sqrt(np.sum(squares, axis=0)).astype(np.float32))


def _cubed(
    values: torch.Tensor, means: torch.Tensor, columns: slice, scale: torch.Tensor, out: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """((values - mean) / scale)^3 of some columns and its norms; by compiled loops in main memory."""
    out = out.view(-1)[: len(values) * len(scale)].view(len(values), len(scale))
    if values.device.type != "cpu":
        return _plain_cubed(values[:, columns], means[columns], scale, out)
    array, rows = _row_parts(values)
    cubed, mean, factor = out.numpy(), means[columns].numpy(), (1 / scale).numpy()
    squares = in_threads(lambda part: _cubes(array[part], columns.start, mean, factor, cubed[part]), rows)
    return out, torch.from_numpy(np.sqrt(np.sum(squares, axis=0)).astype(np.float32))


def _plain_cubed(
    values: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor, out: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The plain path, for any device."""
    centred = (values - mean).div_(scale)
    cubed = torch.pow(centred, 2, out=out).mul_(centred)
    return cubed, torch.linalg.vector_norm(cubed, dim=0)


@compiled
def _sums(values: np.ndarray, squared: bool) -> np.ndarray:
    """Sums (columns,) over rows, float64, of values or of their squares."""
    width = values.shape[1]
    total, part = np.zeros(width, np.float64), np.zeros(width, np.float32)
    for i in range(len(values)):
        row = values[i]
        if squared:
            for m in range(width):
                part[m] += row[m] * row[m]
        else:
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
