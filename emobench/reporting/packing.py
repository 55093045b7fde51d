"""Numbers, words and images in few bytes, for pages that bring their own data (templates/atlas_data.js reads it)."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

ACROSS, PER_SHEET = 32, 512
"""Images in a row of a sheet, and in a sheet."""
MOST_PIXELS = 96
"""A side of an image on a page."""
MOST_LEVELS = 255
"""Numbers with at most so many different values are kept as they are."""


def packed(values: Any, *, wide: bool = False) -> dict[str, Any]:
    """Numbers or words as codes of few bits, in base64.

    Words, and numbers of few different values, become places in the list ``values`` (numbers with 6 digits); a place
    behind its end is a missing number. Others are rounded to equal steps from the lowest to the highest, in 8 bits or,
    if ``wide``, in 16; all bits set is a missing or infinite number.

    Returns:
        ``bits``, ``length``, ``codes``, and either ``values`` or ``low`` and ``step``.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        words, codes = np.unique(values.astype(str), return_inverse=True)
        return {"values": words.tolist(), **coded(codes, _bits(len(words)))}
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    levels, codes = np.unique(numbers[finite], return_inverse=True)
    if len(levels) <= MOST_LEVELS:
        filled = np.full(numbers.shape, len(levels))
        filled[finite] = codes
        kept = [float(f"{level:.6g}") for level in levels]
        return {"values": kept, **coded(filled, _bits(len(levels) + (not finite.all())))}
    bits = 16 if wide else 8
    low, step = levels[0], (levels[-1] - levels[0]) / (2**bits - 2)
    filled = np.full(numbers.shape, 2**bits - 1)
    filled[finite] = np.rint((numbers[finite] - low) / step)
    return {"low": float(f"{low:.9g}"), "step": float(f"{step:.9g}"), **coded(filled, bits)}


def coded(codes: np.ndarray, bits: int) -> dict[str, Any]:
    """Whole numbers from 0 as base64 with 1 to 8, 16 or 32 bits each, the lowest bit first."""
    if bits < 8:
        apart = np.unpackbits(codes.astype(np.uint8)[:, None], axis=1, count=bits, bitorder="little")
        data = np.packbits(apart, bitorder="little")
    else:
        data = codes.astype(f"<u{bits // 8}")
    return {"bits": bits, "length": len(codes), "codes": base64.b64encode(data.tobytes()).decode()}


def stepped(similarity: np.ndarray) -> dict[str, Any]:
    """Similarities (units, concepts) as distances below each unit's best: code c is spread * (c / 254)^2.

    The squares keep small distances exact, which is where concepts compete. Code 255 is a similarity that isn't finite.
    """
    finite = np.isfinite(similarity)
    best = np.where(finite, similarity, -np.inf).max(axis=1, keepdims=True)
    below = np.where(finite, best - np.where(finite, similarity, 0), 0)
    spread = below.max(axis=1, keepdims=True)
    codes = np.rint(254 * np.sqrt(below / np.where(spread > 0, spread, 1)))
    return {**coded(np.where(finite, codes, 255).ravel(), 8), "spread": packed(spread.ravel(), wide=True)}


def smaller(images: np.ndarray) -> np.ndarray:
    """Images uint8 (n, height, width) or (n, height, width, 3) with at most MOST_PIXELS a side: pages stay light."""
    height, width = images.shape[1:3]
    if max(height, width) <= MOST_PIXELS:
        return images
    ratio = MOST_PIXELS / max(height, width)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX)) for image in images])


def sheets(top_images: np.ndarray, images: np.ndarray, labels: np.ndarray) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The top images of all units, each image once, in sheets that a page loads as it needs them.

    Args:
        top_images: rows of ``images`` (units, count), the most activating first, units in the order of the page.
        images: uint8 (n, height, width) or (n, height, width, 3).
        labels: class of each image.

    Returns:
        What the page needs to find them, and the sheets: WebP by file name.
    """
    top_images = np.asarray(top_images, dtype=np.int64)
    distinct, first = np.unique(top_images, return_index=True)
    shown = distinct[np.argsort(first)]
    place = np.empty(len(images), dtype=np.int64)
    place[shown] = np.arange(len(shown))
    files = {}
    for start in range(0, len(shown), PER_SHEET):
        tiles = smaller(images[shown[start : start + PER_SHEET]])
        rows = -(-len(tiles) // ACROSS)
        blank = np.zeros((rows * ACROSS - len(tiles), *tiles.shape[1:]), np.uint8)
        grid = np.concatenate([tiles, blank]).reshape(rows, ACROSS, *tiles.shape[1:])
        data = io.BytesIO()
        sheet = grid.swapaxes(1, 2).reshape(rows * tiles.shape[1], ACROSS * tiles.shape[2], *tiles.shape[3:])
        Image.fromarray(sheet).save(data, "WEBP", quality=75, method=4)
        files[f"figures/top_images/{start // PER_SHEET:03}.webp"] = data.getvalue()
    return {
        "files": list(files),
        "across": ACROSS,
        "per_sheet": PER_SHEET,
        "size": min(int(images.shape[1]), MOST_PIXELS),
        "count": top_images.shape[1],
        "place": coded(place[top_images].ravel(), 32),
        "labels": packed(np.asarray(labels)[shown]),
    }, files


def _bits(count: int) -> int:
    """The fewest bits that tell ``count`` codes apart."""
    needed = max(1, (count - 1).bit_length())
    return needed if needed <= 8 else 16
