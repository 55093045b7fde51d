"""Columns made ready for a cosine, and the cosines of centred cubes, which are never held all at once."""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from emobench.functional.similarity.compiled import F32, compiled, in_threads
from emobench.functional.similarity.topk import require_finite

CHUNK = 512
"""Rows summed in float32 before the sum goes on in float64: 28,709 equal numbers would drift otherwise."""
CUBES_AT_ONCE = 1 << 26
"""Cubes held at a time, 4 bytes each. Each further part costs some ms: two pools of threads take turns on the cores."""
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
        means = torch.from_numpy((_sums_of(values, False) / len(values)).astype(np.float32))
    else:
        means = values.mean(0, dtype=torch.float64).float()
    if not torch.isfinite(means).all():
        require_finite(name, values)
    return means


class Columns(NamedTuple):
    """A matrix (images, columns) whose columns are to be centred, divided by a scale and cubed."""

    values: torch.Tensor
    mean: torch.Tensor
    """(columns,)."""
    scale: torch.Tensor
    """(columns,)."""


def cubed_cosines(concept_scores: torch.Tensor, activations: torch.Tensor, min_norm: float) -> torch.Tensor:
    """Cosines of the columns of two matrices, centred and cubed.

    Args:
        concept_scores: (images, concepts).
        activations: (images, units).
        min_norm: norms of the cubed columns count as at least this.

    Returns:
        (units, concepts).

    Raises:
        ValueError: NaN or infinity.
    """
    scores, units = _centred("concept_scores", concept_scores), _centred("activations", activations)
    products, *norms = _products_of_cubes(scores, units)
    if not all(torch.isfinite(norm).all() for norm in norms):
        scores, units = (side._replace(scale=_magnitudes(side.values)) for side in (scores, units))
        products, *norms = _products_of_cubes(scores, units)
    least = [(min_norm / side.scale.double() ** 3).float() for side in (scores, units)]
    score_norms, unit_norms = map(torch.maximum, norms, least)
    return products.div_(score_norms).div_(unit_norms[:, None])


def _centred(name: str, values: torch.Tensor) -> Columns:
    values = values.contiguous()
    mean = column_means(name, values)
    return Columns(values, mean, torch.ones_like(mean))


def _products_of_cubes(scores: Columns, units: Columns) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Products (units, concepts) of the cubed columns; the norms (concepts,) and (units,) of both, maybe infinite."""
    sides, images = (scores, units), len(scores.values)
    height = math.ceil(images / math.ceil(images * max(len(side.mean) for side in sides) / CUBES_AT_ONCE))
    rooms = [_room(side.values, height) for side in sides]
    squares = [torch.zeros_like(side.mean, dtype=torch.float64) for side in sides]
    products = scores.values.new_zeros(len(units.mean), len(scores.mean))
    for start in range(0, images, height):
        parts = [side._replace(values=side.values[start : start + height]) for side in sides]
        cubed, weights = (_cubed(*part) for part in zip(parts, rooms, squares, strict=True))
        products.addmm_(weights.T, cubed)
    first, second = (total.sqrt().float() for total in squares)
    return products, first, second


def _room(values: torch.Tensor, height: int) -> torch.Tensor:
    """Uninitialised (height, columns), used again and again; in main memory from NumPy, which asks for large pages."""
    if values.device.type != "cpu":
        return values.new_empty(height, values.shape[1])
    return torch.from_numpy(np.empty((height, values.shape[1]), np.float32))


def _cubed(part: Columns, room: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """Cubes (images, columns), in ``room``; adds the sums of their squares to ``squares``. Compiled in main memory."""
    room = room[: len(part.values)]
    if part.values.device.type != "cpu":
        return _plain_cubed(part, room, squares)
    values, cubed, mean, factor = (tensor.numpy() for tensor in (part.values, room, part.mean, 1 / part.scale))
    sums = in_threads(lambda rows: _cubes(values[rows], mean, factor, cubed[rows]), _row_parts(len(values)))
    squares += torch.from_numpy(np.sum(sums, axis=0))
    return room


def _plain_cubed(part: Columns, room: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """The plain path, for any device."""
    centred = (part.values - part.mean).div_(part.scale)
    torch.pow(centred, 2, out=room).mul_(centred)
    squares += room.square().sum(0, dtype=torch.float64)
    return room


def _magnitudes(values: torch.Tensor) -> torch.Tensor:
    largest = torch.maximum(values.amax(0), -values.amin(0))
    return torch.where(largest > 0, largest, 1)


def _row_parts(rows: int) -> list[slice]:
    """Rows cut for threads."""
    bounds = np.linspace(0, rows, 8 * torch.get_num_threads() + 1, dtype=int)
    return [slice(*part) for part in pairwise(bounds)]


def _norms(values: torch.Tensor) -> torch.Tensor:
    """Norms of columns; by compiled loops in main memory, where torch takes longer for them than for the product."""
    if values.device.type != "cpu":
        return torch.linalg.vector_norm(values, dim=0)
    return torch.from_numpy(np.sqrt(_sums_of(values, True)).astype(np.float32))


def _sums_of(values: torch.Tensor, squared: bool) -> np.ndarray:
    """Sums (columns,) over images of values in main memory, or of their squares, float64."""
    array = values.contiguous().numpy()
    return np.sum(in_threads(lambda part: _sums(array[part], squared), _row_parts(len(array))), axis=0)


@compiled
def _sums(values: np.ndarray, squared: bool) -> np.ndarray:
    """Sums (columns,) over rows, float64, of values or of their squares; four rows at a time, as in ``spans``."""
    width, last = values.shape[1], len(values) - 1
    total, part = np.zeros(width, np.float64), np.zeros(width, np.float32)
    for i in range(0, last + 1, 4):
        a, b, c, d = values[i], values[min(i + 1, last)], values[min(i + 2, last)], values[min(i + 3, last)]
        # The last row stands in for rows that are not there, and counts 0.
        use_b, use_c, use_d = F32(i + 1 <= last), F32(i + 2 <= last), F32(i + 3 <= last)
        if squared:
            for m in range(width):
                part[m] += (a[m] * a[m] + use_b * b[m] * b[m]) + (use_c * c[m] * c[m] + use_d * d[m] * d[m])
        else:
            for m in range(width):
                part[m] += (a[m] + use_b * b[m]) + (use_c * c[m] + use_d * d[m])
        if i % CHUNK == CHUNK - 4 or i + 4 > last:
            _move(part, total)
    return total


@compiled
def _cubes(values: np.ndarray, mean: np.ndarray, factor: np.ndarray, cubed: np.ndarray) -> np.ndarray:
    """Writes ((value - mean) * factor)^3 to ``cubed``; returns the sums of its squares like ``_sums``."""
    width, last = len(mean), len(values) - 1
    total, part = np.zeros(width, np.float64), np.zeros(width, np.float32)
    for i in range(0, last + 1, 4):
        j, k, n = min(i + 1, last), min(i + 2, last), min(i + 3, last)
        a, b, c, d = values[i], values[j], values[k], values[n]
        cubed_a, cubed_b, cubed_c, cubed_d = cubed[i], cubed[j], cubed[k], cubed[n]
        use_b, use_c, use_d = F32(i + 1 <= last), F32(i + 2 <= last), F32(i + 3 <= last)
        for m in range(width):
            w, x = _cube((a[m] - mean[m]) * factor[m]), _cube((b[m] - mean[m]) * factor[m])
            y, z = _cube((c[m] - mean[m]) * factor[m]), _cube((d[m] - mean[m]) * factor[m])
            cubed_a[m], cubed_b[m], cubed_c[m], cubed_d[m] = w, x, y, z
            part[m] += (w * w + use_b * x * x) + (use_c * y * y + use_d * z * z)
        if i % CHUNK == CHUNK - 4 or i + 4 > last:
            _move(part, total)
    return total


@compiled
def _cube(x: float) -> float:
    return x * x * x


@compiled
def _move(part: np.ndarray, total: np.ndarray) -> None:
    """Adds ``part`` to ``total`` and empties it."""
    for m in range(len(total)):
        total[m] += part[m]
        part[m] = 0
