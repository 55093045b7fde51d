"""Loops compiled by numba, for what array operations on main memory only do with large temporaries.

A kernel works on a part of its result and holds no lock, so that ``in_threads`` runs parts side by side. Each has a
plain torch path beside it that gives the same result and serves other devices. numba's cache notices a change to the
file of a kernel, but not to functions that it calls from another file: after changing this one remove __pycache__.
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
def ordered_key(value: float, low: int) -> np.int64:
    """An int64 that sorts like (value, low), with 0 <= low <= LOW; zeros of both signs are equal."""
    pattern = np.int64(bits(F32(0) if value == 0 else value))
    ordered = pattern if pattern >= 0 else np.int64(-0x80000000) - pattern - 1
    return (ordered << 32) | low


@compiled
def power_of_two(x: float) -> float:
    """2^x for a float32 x of at most 0, to 2.5e-7 relative, written so that loops over it become vector code.

    Below x = -125 it stays at 2^-125. The polynomial is the minimax one of degree 5 on [-1/2, 1/2] that is 1 at 0.
    """
    x = x if x > F32(-125) else F32(-125)
    shifted = x + ROUNDER
    r = x - (shifted - ROUNDER)
    series = F32(1.326472731e-3) * r + F32(9.671512991e-3)
    series = series * r + F32(5.550733581e-2)
    series = series * r + F32(2.402224243e-1)
    series = series * r + F32(6.931470037e-1)
    series = series * r + F32(1)
    # Shifted, the bits of ROUNDER fall out at the top and the nearest integer is added to the exponent.
    return from_bits(I32(bits(series) + I32(bits(shifted) << 23)))


@compiled
def spans(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> tuple[tuple[float, float], ...]:
    """(smallest, largest) of each of four float32 rows of one length; NaN for a row that isn't finite.

    As integers, which becomes vector code. Four rows at a time lie on more pages of memory than one, and a core reads
    several pages together in half the time.
    """
    low_a = low_b = low_c = low_d = UNSIGNED_BITS
    high_a = high_b = high_c = high_d = I32(-UNSIGNED_BITS)
    for m in range(len(a)):
        low_a, high_a = min(low_a, ordered(a[m])), max(high_a, ordered(a[m]))
        low_b, high_b = min(low_b, ordered(b[m])), max(high_b, ordered(b[m]))
        low_c, high_c = min(low_c, ordered(c[m])), max(high_c, ordered(c[m]))
        low_d, high_d = min(low_d, ordered(d[m])), max(high_d, ordered(d[m]))
    return _finite(low_a, high_a), _finite(low_b, high_b), _finite(low_c, high_c), _finite(low_d, high_d)


@compiled
def ordered(x: float) -> np.int32:
    """An int32 that sorts like the float32 x; NaN stands beyond the infinities. It is its own inverse on the bits."""
    pattern = bits(x)
    return I32(pattern ^ ((pattern >> 31) & UNSIGNED_BITS))


@compiled
def _finite(low: int, high: int) -> tuple[np.float32, np.float32]:
    """Turns two of ``ordered`` back, or both into NaN where one isn't finite."""
    if low <= I32(INFINITY_BITS ^ I32(-1)) or high >= INFINITY_BITS:
        return F32(np.nan), F32(np.nan)
    return from_bits(I32(low ^ ((low >> 31) & UNSIGNED_BITS))), from_bits(I32(high ^ ((high >> 31) & UNSIGNED_BITS)))
