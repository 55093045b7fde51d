"""Recognises pictures that never showed a face: blank ones, "image unavailable" texts, icons.

Hosts of pictures answer with such a placeholder where the picture is gone, and a scraped set has them, cut at any
place and size. They are told from faces by how little they hold. Empty rows and steps between neighbouring pixels are
measured after stretching a picture's own grey levels to 0..255, so that a dark or faded face looks like any other.
Thresholds were set on all of FER2013 with the nearest faces in view: there they remove 69 placeholders and no face.
For other sets they are opt-in (params data.audit.placeholders).
Not recognised: text packed so densely that no row is empty, and photographs of something else than a face.
"""

import numpy as np
from PIL import Image

from emobench.progress import progress

REASONS = {
    "blank": "nothing visible: deviation below 4.5 of 255 grey levels, or no edges",
    "empty_ground": "half of the rows or of the columns are of one grey: a text or an icon on its ground",
    "sign": "even, of two tones and on an empty ground, also where the ground is less than half",
    "pale_sign": "no dark pixel, and but two even tones, or lettering all over",
}
"""Why an image is removed. The first that holds is given."""

VISIBLE_DEVIATION = 4.5
EDGE = 20.0
EMPTY_RANGE = 24.0
EVEN, NEARLY_EVEN = 3.5, 6.5
LETTERING = 64.0
"""Steps between neighbouring pixels, in stretched grey levels: less than EDGE is no edge, up to EVEN is one tone."""
PALE, NEAR_WHITE, BLACK = 100, 200, 50
_BLOCK = 1024


def placeholder_reasons(images: np.ndarray) -> np.ndarray:
    """Says of each image why it is a placeholder.

    Args:
        images: uint8 (n, height, width), or (n, height, width, 3), of which the brightness is looked at.

    Returns:
        str (n,): a key of REASONS, or "" for a picture of something.
    """
    reasons = np.full(len(images), "", dtype=f"U{max(map(len, REASONS))}")
    for start in progress(range(0, len(images), _BLOCK), desc="placeholders", unit="block"):
        block = images[start : start + _BLOCK]
        if block.ndim == 4:
            block = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in block])
        reasons[start : start + _BLOCK] = _reasons(block)
    return reasons


def _reasons(images: np.ndarray) -> np.ndarray:
    """Reasons for one block of images."""
    levels = images.reshape(len(images), -1)
    darkest, deviation = levels.min(axis=1), levels.std(axis=1, dtype=np.float32)
    spread = np.maximum(levels.max(axis=1) - darkest, 1).astype(np.float32)
    stretched = (images - darkest[:, None, None]) * (255 / spread)[:, None, None]
    across, down = np.abs(np.diff(stretched, axis=2))[:, :-1], np.abs(np.diff(stretched, axis=1))[:, :, :-1]
    steps = np.maximum(across, down).reshape(len(images), -1)
    rows, columns = (np.ptp(stretched, axis=axis) <= EMPTY_RANGE for axis in (2, 1))
    ground = (rows[:, :, None] | columns[:, None, :]).mean(axis=(1, 2))
    two_tones, even = two_tone_share(images), (steps <= EVEN).mean(axis=1)
    on_black = ((levels < BLACK).mean(axis=1) > 0.5) & (two_tones >= 0.85) & (even >= 0.55) & (ground >= 1 / 3)
    pale = (two_tones >= 0.92) & ((steps <= NEARLY_EVEN).mean(axis=1) >= 0.55) & (deviation < 42)
    near_white = (two_tones >= 0.85) & (darkest >= NEAR_WHITE)
    lettering = (steps >= LETTERING).mean(axis=1) >= 0.2
    # Overexposure leaves a face's few shaded features on pure white; ink has no shades.
    overexposed = ((levels == 255).mean(axis=1) > 2 / 3) & (two_tones < 0.87)
    holds = {
        "blank": (deviation < VISIBLE_DEVIATION) | ((steps >= EDGE).mean(axis=1) <= 0.01),
        "empty_ground": (np.maximum(rows.mean(axis=1), columns.mean(axis=1)) >= 0.5) & ~overexposed,
        "sign": ((even + two_tones >= 1.48) & (ground >= 0.45) & ~overexposed) | on_black,
        "pale_sign": (darkest >= PALE) & (pale | near_white | lettering),
    }
    return np.select([holds[name] for name in REASONS], list(REASONS), default="")


def two_tone_share(images: np.ndarray) -> np.ndarray:
    """How much of an image's variance is the difference between two groups of grey levels, best split (n,).

    This is the separability of Otsu (1979, A threshold selection method from gray-level histograms, eq. 12): 1 for
    two exact tones, 0 for a uniform image.
    """
    rows = np.arange(len(images))[:, None] * 256
    counts = np.bincount((images.reshape(len(images), -1) + rows).ravel(), minlength=256 * len(images))
    shares = counts.reshape(-1, 256) / images[0].size
    below, sums = shares.cumsum(axis=1), (shares * np.arange(256)).cumsum(axis=1)
    mean = sums[:, -1:]
    variance = (shares * (np.arange(256) - mean) ** 2).sum(axis=1)
    split = below * (1 - below)
    between = np.divide((mean * below - sums) ** 2, split, out=np.zeros_like(split), where=split > 1e-9).max(axis=1)
    return np.divide(between, variance, out=np.zeros_like(variance), where=variance > 0)
