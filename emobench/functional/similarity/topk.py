"""The most activating images of every unit. Axes: activations (images, units), ranks first in the result."""

import math

import numpy as np
import torch

from emobench.functional.similarity.compiled import LOW, NOTHING, compiled, in_threads, lowest_bit, ordered_key

SORTED_AT_ONCE = 1 << 25
"""Activations sorted in one go: their sorted copy and int64 indices take 12 bytes each."""
KEYS_AT_ONCE = 1 << 19
"""Wanted keys that a thread of the compiled path holds, 24 bytes each with the room for more."""
SAMPLING = 32
"""One in so many images is looked at first."""
HUGE = np.finfo(np.float32).max


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
    if activations.device.type != "cpu" or activations.dtype != torch.float32:
        require_finite("activations", activations)
        return _sorted_top_images(activations, k)
    values = activations.contiguous().numpy()
    # Wide blocks: a row's part should be many cache lines.
    width = min(max(16, KEYS_AT_ONCE // k), math.ceil(values.shape[1] / torch.get_num_threads()))
    blocks = [slice(start, start + width) for start in range(0, values.shape[1], width)]
    found = in_threads(lambda units: _compiled_top_images(values, units, k), blocks)
    if any(block is None for block in found):
        require_finite("activations", activations)
    return torch.from_numpy(np.concatenate(found, axis=1))


def _compiled_top_images(values: np.ndarray, units: slice, k: int, *, sampled: bool = True) -> np.ndarray | None:
    """Top images (k, units) of some columns of ``values``; None where a NaN or infinity was met."""
    sample = values[::SAMPLING, units].T
    keys = np.full((len(sample), 3 * k + 64), NOTHING)
    threshold = np.full(len(sample), -np.inf, np.float32)
    # Three deviations more than k images are expected above the value of this rank in the sample.
    expected = k / SAMPLING
    place = sample.shape[1] - math.ceil(expected + 3 * math.sqrt(expected) + 1)
    if sampled and place > sample.shape[1] // 2:
        largest = np.partition(np.ascontiguousarray(sample), place, axis=1)[:, place]
        threshold = np.nextafter(largest, np.float32(-np.inf))
    if not _collect_top(values, units.start, k, threshold, keys):
        return None
    keys.sort(axis=1)
    top = np.ascontiguousarray(LOW - (keys[:, : -k - 1 : -1].T & LOW))
    for place in np.flatnonzero(keys[:, -k] == NOTHING):  # the sample lied about this unit
        unit = slice(units.start + place, units.start + place + 1)
        if (alone := _compiled_top_images(values, unit, k, sampled=False)) is None:
            return None
        top[:, place] = alone[:, 0]
    return top


def _sorted_top_images(activations: torch.Tensor, k: int) -> torch.Tensor:
    """The same by a stable sort, on any device and without checks."""
    units = max(1, SORTED_AT_ONCE // len(activations))
    blocks = activations.split(units, dim=1)
    return torch.cat([torch.sort(b, dim=0, descending=True, stable=True).indices[:k] for b in blocks], dim=1)


@compiled
def _keep_largest(keys: np.ndarray, k: int) -> int:
    """Brings the k largest keys, all different, to the front, drops the others and returns the k-th (quickselect)."""
    low, high = 0, len(keys) - 1
    while low < high:
        pivot = keys[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while keys[left] > pivot:
                left += 1
            while keys[right] < pivot:
                right -= 1
            if left <= right:
                keys[left], keys[right] = keys[right], keys[left]
                left += 1
                right -= 1
        if k - 1 <= right:
            high = right
        elif k - 1 >= left:
            low = left
        else:
            break
    for place in range(k, len(keys)):
        keys[place] = NOTHING
    return keys[k - 1]


@compiled
def _collect_top(values: np.ndarray, first: int, k: int, threshold: np.ndarray, keys: np.ndarray) -> bool:
    """Collects keys (value, LOW - image) of the k largest values of some units, and of some more, in one pass.

    A unit collects what lies above its threshold; when its list is full, the k largest stay and the k-th becomes the
    threshold. A later image with the same value never ranks before it.

    Args:
        values: (images, all units).
        first: the unit that belongs to the first row of ``keys``.
        k: how many are wanted.
        threshold: (units,), raised in place; a unit starts at a value below its k-th largest.
        keys: (units, room), room > k, filled with the smallest int64.

    Returns:
        False where a NaN or infinity was met; ``keys`` is then not valid.
    """
    width, room = keys.shape
    count = np.zeros(width, np.int64)
    # A byte a unit, looked at eight at a time: most words are 0 once the thresholds are near their end.
    flags = np.zeros((width + 7) // 8 * 8, np.uint8)
    words = flags.view(np.uint64)
    for start in range(0, len(values), 4):
        _flag(values, start, first, threshold, flags)
        for w in range(len(words)):
            word = words[w]
            while word != 0:
                j = 8 * w + (np.int64(lowest_bit(word)) >> 3)
                word &= word - np.uint64(1)
                for i in range(start, min(start + 4, len(values))):
                    value = values[i, first + j]
                    if value <= threshold[j] and value >= -HUGE:
                        continue
                    if not abs(value) <= HUGE:
                        return False
                    keys[j, count[j]] = ordered_key(value, LOW - i)
                    count[j] += 1
                    if count[j] == room:
                        smallest = _keep_largest(keys[j], k)
                        count[j] = k
                        threshold[j] = values[LOW - (smallest & LOW), first + j]
    return True


@compiled
def _flag(values: np.ndarray, start: int, first: int, threshold: np.ndarray, flags: np.ndarray) -> None:
    """Flags units that one of four rows has above their threshold, or not finite; four, as in ``spans``."""
    last, end = len(values) - 1, first + len(threshold)
    a, b = values[start, first:end], values[min(start + 1, last), first:end]
    c, d = values[min(start + 2, last), first:end], values[min(start + 3, last), first:end]
    for j in range(len(threshold)):
        t = threshold[j]
        below = a[j] <= t and b[j] <= t and c[j] <= t and d[j] <= t
        flags[j] = not (below and a[j] >= -HUGE and b[j] >= -HUGE and c[j] >= -HUGE and d[j] >= -HUGE)
