"""Compiled loops over float32 matrices in main memory, for what array operations can only do with large temporaries.

Every kernel works on a part of its result and holds no lock, so that ``in_threads`` runs parts side by side. The plain
torch paths in ``topk`` and ``similarity`` give the same results and serve other devices.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

F32, I32 = np.float32, np.int32
TINY, HUGE = F32(np.finfo(np.float32).tiny), F32(np.finfo(np.float32).max)
LOG2_E, LN2_HIGH, LN2_LOW = F32(1.4426950408889634), F32(0.693359375), F32(-2.12194440e-4)
ROUNDER = F32(1.5 * 2**23)
"""Added to a small float32 it leaves the nearest integer in the low bits."""
ROUNDER_BITS = I32(ROUNDER.view(np.int32))
LANES = 256
"""Partial sums kept side by side, so that a sum becomes vector code without changing its order between runs."""
ONE_BITS, MANTISSA_BITS = I32(0x3F800000), I32(0x007FFFFF)


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compiles without the interpreter lock, kept on disk where a folder can be written."""
    try:
        return numba.njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # neither __pycache__ nor the user's cache folder can be written
        return numba.njit(nogil=True, **options)(function)


def in_threads(task: Callable[[Any], Any], parts: Iterable[Any]) -> list[Any]:
    """Runs ``task`` on every part, as many at a time as torch uses threads."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(task, parts))


@intrinsic
def _bits(typing_context: Any, value: Any) -> Any:
    """The bits of a float32 as int32."""
    return types.int32(types.float32), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.IntType(32)
    )


@intrinsic
def _from_bits(typing_context: Any, value: Any) -> Any:
    """The float32 that has these bits."""
    return types.float32(types.int32), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.FloatType()
    )


@intrinsic
def _lowest_bit(typing_context: Any, word: Any) -> Any:
    """Place of the lowest bit that is set in a uint64 that isn't 0."""
    return types.uint64(types.uint64), lambda context, builder, signature, args: builder.cttz(args[0], ir.IntType(1)(1))


NOTHING = np.iinfo(np.int64).min
"""A key below all others."""


@compiled
def sortable(value: float, index: int) -> int:
    """An int64 that sorts like (value, -index); zeros of both signs are equal."""
    bits = np.int64(_bits(F32(0.0) if value == F32(0.0) else value))
    ordered = bits if bits >= 0 else np.int64(-0x80000000) - bits - 1
    return (ordered << 32) | (np.int64(0xFFFFFFFF) - index)


@compiled
def index_of(key: int) -> int:
    """The index within a ``sortable`` key; also for arrays of keys."""
    return np.int64(0xFFFFFFFF) - (key & np.int64(0xFFFFFFFF))


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
def collect_top(values: np.ndarray, first: int, k: int, threshold: np.ndarray, keys: np.ndarray) -> bool:
    """Collects ``sortable`` keys of the k largest values of some units, and of some more, in one pass.

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
    for i in range(len(values)):
        row = values[i, first : first + width]
        for j in range(width):
            flags[j] = not (row[j] <= threshold[j] and row[j] >= -HUGE)
        for w in range(len(words)):
            word = words[w]
            while word != 0:
                j = 8 * w + (np.int64(_lowest_bit(word)) >> 3)
                word &= word - np.uint64(1)
                if not abs(row[j]) <= HUGE:
                    return False
                mine = keys[j]
                mine[count[j]] = sortable(row[j], i)
                count[j] += 1
                if count[j] == room:
                    smallest = _keep_largest(mine, k)
                    count[j] = k
                    threshold[j] = values[index_of(smallest), first + j]
    return True


@compiled
def _exp(x: float) -> float:
    """exp of a float32 of at most 0 to 2e-7 relative, written so that loops over it become vector code."""
    x = x if x > F32(-87.0) else F32(-87.0)
    shifted = x * LOG2_E + ROUNDER
    whole = shifted - ROUNDER
    r = (x - whole * LN2_HIGH) - whole * LN2_LOW
    series = F32(1 / 720) * r + F32(1 / 120)
    series = series * r + F32(1 / 24)
    series = series * r + F32(1 / 6)
    series = series * r + F32(0.5)
    series = series * r + F32(1.0)
    series = series * r + F32(1.0)
    power = I32(I32(_bits(shifted) - ROUNDER_BITS) << 23)
    return series * _from_bits(I32(power + ONE_BITS))


@compiled
def softmax_rows(
    scores: np.ndarray, a: float, first: int, last: int, needed: np.ndarray, shift: np.ndarray, scale: np.ndarray
) -> tuple[float, float]:
    """For rows first..last that are needed: softmax(a * row) is exp(a * row - shift) * scale.

    Returns:
        The smallest and the largest of all scores in first..last; NaN where a score is NaN or infinite.
    """
    width = min(LANES, scores.shape[1])
    lowest, highest, sums = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    smallest, largest = F32(np.inf), F32(-np.inf)
    for i in range(first, last):
        row = scores[i]
        for lane in range(width):
            lowest[lane], highest[lane], sums[lane] = row[lane], row[lane], F32(0)
        for start in range(0, len(row), width):
            part = row[start : start + width]
            for lane in range(len(part)):
                value = part[lane]
                lowest[lane] = value if value < lowest[lane] else lowest[lane]
                highest[lane] = value if value > highest[lane] else highest[lane]
                sums[lane] += value - value  # NaN for a NaN, which the comparisons pass over
        low, high, total = lowest[0], highest[0], np.float64(sums[0])
        for lane in range(1, width):
            low, high, total = min(low, lowest[lane]), max(high, highest[lane]), total + sums[lane]
        if not total == 0:
            return F32(np.nan), F32(np.nan)
        smallest, largest = min(smallest, low), max(largest, high)
        if not needed[i]:
            continue
        high *= a
        for start in range(0, len(row), width):
            part = row[start : start + width]
            for lane in range(len(part)):
                sums[lane] += _exp(a * part[lane] - high)
        total = np.float64(0)
        for lane in range(width):
            total += sums[lane]
        shift[i], scale[i] = high, F32(1 / total)
    return smallest, largest


@compiled
def sum_of_logs(
    scores: np.ndarray,
    a: float,
    shift: np.ndarray,
    scale: np.ndarray,
    constant: np.ndarray,
    slope: np.ndarray,
    group: int,
    image: np.ndarray,
    unit: np.ndarray,
    rank: np.ndarray,
    first: int,
    result: np.ndarray,
) -> None:
    """Adds log(constant + slope * softmax) over (image, unit, rank) triples, sorted by image, into ``result``.

    The factors are multiplied. After every ``group`` of them, as many as float32 can take, the product keeps its
    mantissa and hands its exponent to an integer, so that one logarithm a (unit, concept) is left for the end.

    Args:
        scores: (images, concepts).
        a: inverse temperature; ``shift`` and ``scale`` (images,) from ``softmax_rows``.
        constant, slope: (ranks,).
        group: factors between two looks at the exponent.
        image, unit, rank: (triples,).
        first: the concept that belongs to the first column of ``result``.
        result: (units, concepts).
    """
    units, concepts = result.shape
    products = np.ones((units, concepts), np.float32)
    exponents = np.zeros((units, concepts), np.int32)
    pending = np.zeros(units, np.int64)
    probability = np.empty(concepts, np.float32)
    for triple in range(len(image)):
        i, u, r = image[triple], unit[triple], rank[triple]
        if triple == 0 or image[triple - 1] != i:
            row, minus, times = scores[i, first : first + concepts], shift[i], scale[i]
            for m in range(concepts):
                probability[m] = _exp(a * row[m] - minus) * times
        product, c, s = products[u], constant[r], slope[r]
        for m in range(concepts):
            factor = c + s * probability[m]
            product[m] *= factor if factor > TINY else TINY
        pending[u] += 1
        if pending[u] == group:
            pending[u] = 0
            _normalise(product, exponents[u])
    for u in range(units):
        _normalise(products[u], exponents[u])
        for m in range(concepts):
            result[u, m] = np.log(np.float64(products[u, m])) + exponents[u, m] * np.log(2.0)


@compiled
def _normalise(product: np.ndarray, exponent: np.ndarray) -> None:
    """Moves the binary exponents of ``product`` into ``exponent``; what stays lies in [1, 2)."""
    for m in range(len(product)):
        bits = _bits(product[m])
        exponent[m] += I32((bits >> 23) - 127)
        product[m] = _from_bits(I32((bits & MANTISSA_BITS) | ONE_BITS))
