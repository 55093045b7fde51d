"""Loops compiled by numba, for what array operations on main memory only do with large temporaries.

A kernel works on a part of its result and holds no lock, so that ``in_threads`` runs parts side by side. Each has a
plain torch path beside it that gives the same result and serves other devices. numba's cache notices a change to the
file of a kernel, but not to functions that it calls from another file: after changing this one remove __pycache__.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

F32, I32 = np.float32, np.int32
LOG2_E, LN2_HIGH, LN2_LOW = F32(1.4426950408889634), F32(0.693359375), F32(-2.12194440e-4)
ROUNDER = F32(1.5 * 2**23)
"""Added to a small float32 it leaves the nearest integer in the low bits."""
ONE_BITS, MANTISSA_BITS, UNSIGNED_BITS = I32(0x3F800000), I32(0x007FFFFF), I32(0x7FFFFFFF)
INFINITY_BITS = I32(0x7F800000)


def compiled(function: Callable[..., Any], *, fastmath: frozenset[str] = frozenset({"contract"})) -> Callable[..., Any]:
    """Compiles without the interpreter lock, kept on disk where a folder can be written."""
    # Contract: a * b + c in one instruction, nothing reordered. A division by zero gives inf or NaN, without a test.
    options = {"nogil": True, "fastmath": set(fastmath), "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither __pycache__ nor the user's cache folder can be written
        return numba.njit(**options)(function)


def in_threads(task: Callable[[Any], Any], parts: Iterable[Any]) -> list[Any]:
    """Runs ``task`` on every part, as many at a time as torch uses threads."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(task, parts))


@intrinsic
def bits(typing_context: Any, value: Any) -> Any:
    """The bits of a float32 as int32."""
    return types.int32(types.float32), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.IntType(32)
    )


@intrinsic
def from_bits(typing_context: Any, value: Any) -> Any:
    """The float32 that has these bits."""
    return types.float32(types.int32), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.FloatType()
    )


@intrinsic
def lowest_bit(typing_context: Any, word: Any) -> Any:
    """Place of the lowest bit that is set in a uint64 that isn't 0."""
    return types.uint64(types.uint64), lambda context, builder, signature, args: builder.cttz(args[0], ir.IntType(1)(1))


NOTHING = np.iinfo(np.int64).min
"""A key below all others."""
LOW = np.int64(0xFFFFFFFF)
"""The half of a key that holds an index."""


@compiled
def ordered_key(value: float, low: int) -> int:
    """An int64 that sorts like (value, low), with 0 <= low <= LOW; zeros of both signs are equal."""
    pattern = np.int64(bits(F32(0) if value == 0 else value))
    ordered = pattern if pattern >= 0 else np.int64(-0x80000000) - pattern - 1
    return (ordered << 32) | low


@compiled
def exp_of_negative(x: float) -> float:
    """Exponential of a float32 of at most 0, to 2e-7 relative, written so that loops over it become vector code."""
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
    # Shifted, the bits of ROUNDER fall out at the top and the nearest integer becomes an exponent.
    return series * from_bits(I32(I32(bits(shifted) << 23) + ONE_BITS))


@compiled
def span(values: np.ndarray) -> tuple[float, float]:
    """The smallest and largest of float32 values; NaN if one isn't finite. As integers: that becomes vector code."""
    low, high, largest = UNSIGNED_BITS, I32(-UNSIGNED_BITS), I32(0)
    for m in range(len(values)):
        pattern = bits(values[m])
        ordered = I32(pattern ^ ((pattern >> 31) & UNSIGNED_BITS))
        low, high = min(low, ordered), max(high, ordered)
        largest = max(largest, I32(pattern & UNSIGNED_BITS))
    if largest >= INFINITY_BITS:
        return F32(np.nan), F32(np.nan)
    low, high = I32(low ^ ((low >> 31) & UNSIGNED_BITS)), I32(high ^ ((high >> 31) & UNSIGNED_BITS))
    return from_bits(low), from_bits(high)


@partial(compiled, fastmath=frozenset({"contract", "reassoc", "nsz"}))
def total(values: np.ndarray) -> float:
    """Sum of float32 values in partial sums side by side."""
    result = F32(0)
    for m in range(len(values)):
        result += values[m]
    return result
