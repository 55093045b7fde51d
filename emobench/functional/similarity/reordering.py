"""The inner part of rank_reorder: what a concept's order of a unit's top images costs, against random orders."""

from typing import Any, NamedTuple

import numpy as np
import torch

from emobench.functional.similarity.compiled import LOW, compiled, in_threads, lowest_bit, ordered_key

RANDOM_ORDERS = 5
UNITS_AT_ONCE = 64
"""Units whose random orders are held at a time."""
KEYS_AT_ONCE = 1 << 21
"""Sort keys that a thread of the compiled path holds, 8 bytes each."""
SORTED_AT_ONCE = 1 << 24
"""Concept scores that the plain path sorts at a time, some 40 bytes each."""


class Tops(NamedTuple):
    """What a concept's order is held against; tensors (k, units), or for the kernel arrays (units, k)."""

    images: Any
    """Image indices, the most activating first."""
    values: Any
    """Their activations."""
    baseline: Any
    """(units,), the mean |difference|^p of random orders."""
    p: int
    """Power of the differences."""
    scale_p: float
    """Power of the mean concept score."""


def random_errors(values: torch.Tensor, p: int, generator: torch.Generator) -> torch.Tensor:
    """Mean |difference|^p between a unit's top activations and the same in random orders.

    Args:
        values: (k, units), each unit's descending.
        p: the power.
        generator: draws ``RANDOM_ORDERS`` times torch.randperm(k) for every unit, unit after unit.

    Returns:
        (units,), float64.
    """
    k = len(values)
    ascending = values.flip(0).T.double().contiguous()
    errors = []
    for block in ascending.split(UNITS_AT_ONCE):
        orders = [
            torch.randperm(k, generator=generator, device=generator.device) for _ in range(len(block) * RANDOM_ORDERS)
        ]
        orders = torch.stack(orders).reshape(len(block), RANDOM_ORDERS, k).to(values.device)
        placed = block[:, None].expand(-1, RANDOM_ORDERS, -1).gather(2, orders)
        errors.append(placed.sub_(block[:, None]).abs_().pow_(p).mean((1, 2)))
    return torch.cat(errors)


def reorder_scores(
    concept_scores: torch.Tensor,
    top: torch.Tensor,
    values: torch.Tensor,
    baseline: torch.Tensor,
    p: int,
    scale_p: float,
) -> torch.Tensor:
    """rank_reorder from its parts, by compiled loops in main memory and by plain torch elsewhere.

    Args:
        concept_scores: (images, concepts).
        top: (k, units), image indices, the most activating first.
        values: (k, units), their activations.
        baseline: (units,), from ``random_errors``.
        p: power of the differences.
        scale_p: power of the mean concept score.

    Returns:
        Similarity (units, concepts).
    """
    tops = Tops(top, values, baseline, p, scale_p)
    if concept_scores.device.type != "cpu":
        return _plain_scores(concept_scores, tops)
    scores = concept_scores.contiguous().numpy()
    images, concepts = scores.shape
    result = np.empty((top.shape[1], concepts), np.float32)
    images_of, values_of = (np.ascontiguousarray(array.T.numpy()) for array in (top.int(), values))
    tops = Tops(images_of, values_of, baseline.numpy(), p, scale_p)

    def fill(first: int) -> None:
        keys = np.empty((min(width, concepts - first), images), np.int64)
        _order_keys(scores, first, keys)
        keys.sort(axis=1)
        _compiled_columns(scores, first, keys, tops, result)

    width = max(1, min(KEYS_AT_ONCE // images, -(-concepts // torch.get_num_threads())))
    in_threads(fill, range(0, concepts, width))
    return torch.from_numpy(result)


def _plain_scores(concept_scores: torch.Tensor, tops: Tops) -> torch.Tensor:
    """The plain path, for any device: some units at a time, their images in index order so that ties stay in it."""
    top, values = tops.images, tops.values
    result = concept_scores.new_empty(top.shape[1], concept_scores.shape[1])
    block = max(1, SORTED_AT_ONCE // (len(top) * concept_scores.shape[1]))
    for units in torch.arange(top.shape[1], device=top.device).split(block):
        images, place = top[:, units].sort(dim=0)
        placed = values[:, units].gather(0, place)[:, :, None].expand(-1, -1, concept_scores.shape[1])
        chosen = concept_scores[images]
        placed = placed.gather(0, chosen.argsort(dim=0, stable=True))
        ascending = values[:, units].flip(0)[:, :, None]
        errors = (placed.double() - ascending).abs_().pow_(tops.p).mean(0)
        expected = tops.baseline[units, None]
        ratio = torch.where((errors == 0) & (expected == 0), 1.0, errors / expected)
        mean = chosen.mean(0, dtype=torch.float64)
        result[units] = torch.where(mean > 0, -ratio / mean**tops.scale_p, -torch.inf).float()
    return result


@compiled
def _order_keys(scores: np.ndarray, first: int, keys: np.ndarray) -> None:
    """Fills ``keys`` (concepts, images) so that a sorted row holds the images by score, ties by index."""
    concepts, images = keys.shape
    for i in range(images):
        row = scores[i, first : first + concepts]
        for m in range(concepts):
            keys[m, i] = ordered_key(row[m], i)


@compiled
def _compiled_columns(scores: np.ndarray, first: int, keys: np.ndarray, tops: Tops, result: np.ndarray) -> None:
    """rank_reorder for some concepts and all units.

    A concept's images are ranked once. A unit's top images then set bits at those ranks, and walking over the bits
    visits them in the concept's order without sorting.

    Args:
        scores: (images, all concepts).
        first: the concept that belongs to the first row of ``keys``.
        keys: (concepts, images), sorted.
        tops: of the units, arrays.
        result: (units, all concepts); columns first.. are written.
    """
    units, k = tops.images.shape
    images = keys.shape[1]
    place, column = np.empty(images, np.int32), np.empty(images, np.float32)
    bits, placed = np.zeros(images // 64 + 1, np.uint64), np.empty(images, np.float32)
    for m in range(len(keys)):
        for i in range(images):
            image = keys[m, i] & LOW
            place[image] = i
            column[image] = scores[image, first + m]
        for u in range(units):
            values, total = tops.values[u], 0.0
            for r in range(k):
                image = tops.images[u, r]
                total += column[image]
                spot = place[image]
                placed[spot] = values[r]
                bits[spot >> 6] |= np.uint64(1) << np.uint64(spot & 63)
            error, expected = _error(bits, placed, values, tops.p) / k, tops.baseline[u]
            ratio = 1.0 if error == 0 and expected == 0 else error / expected
            result[u, first + m] = -ratio / (total / k) ** tops.scale_p if total > 0 else -np.inf


@compiled
def _error(bits: np.ndarray, placed: np.ndarray, values: np.ndarray, p: int) -> float:
    """Sum of |difference|^p of ``placed`` where ``bits`` are set and of the descending ``values``; clears the bits."""
    error, ascending = 0.0, len(values)
    for w in range(len(bits)):
        word, bits[w] = bits[w], np.uint64(0)
        while word != 0:
            ascending -= 1
            spot = 64 * w + np.int64(lowest_bit(word))
            word &= word - np.uint64(1)
            difference = abs(np.float64(placed[spot]) - np.float64(values[ascending]))
            power = difference
            for _ in range(p - 1):
                power *= difference
            error += power
    return error
