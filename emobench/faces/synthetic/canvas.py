"""What faces are drawn on: the pixels of several faces in face coordinates, and soft shapes to cover them with.

Only exact arithmetic (+ - * / and square roots) touches pixels and each shape ends at a finite distance, so that a
face does not depend on the faces drawn along with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np

SIZE = 48
SIDE = 2 * SIZE
"""Faces are drawn at twice their size and averaged down."""
SOFT = 0.04
"""Width of an edge: about one pixel of the final picture."""
Numbers = np.ndarray | float


class Sheet:
    """Pixels of a rectangle: coordinates and grey, each (faces, pixels); ``grey`` is painted in place.

    ``u, v`` follow the head; ``x, y`` the features on it, which a turned head shifts; ``a`` is |x|, so that what is
    drawn once appears left and right.
    """

    def __init__(self, u: np.ndarray, v: np.ndarray, x: np.ndarray, y: np.ndarray, grey: np.ndarray) -> None:
        self.u, self.v, self.x, self.y, self.grey = u, v, x, y, grey
        self.a = np.abs(x)

    @classmethod
    def posed(cls, p: SimpleNamespace) -> "Sheet":
        """All pixels."""
        ticks = (np.arange(SIDE, dtype=np.float32) + 0.5) * (2 / SIDE) - 1
        across, down = (ticks - p.shift_x)[:, None, :], (ticks - p.shift_y)[:, :, None]
        cos, sin = (p.tilt_cos / p.scale)[:, :, None], (p.tilt_sin / p.scale)[:, :, None]
        u = (across * cos + down * sin).reshape(-1, SIDE * SIDE)
        v = (down * cos - across * sin).reshape(-1, SIDE * SIDE)
        x = u - p.turn * np.maximum(1 - np.square(u / p.width), 0)
        return cls(u, v, x, v + p.skew * u, np.empty_like(u))

    @contextmanager
    def window(self, p: SimpleNamespace, top: Numbers, bottom: Numbers, side: Numbers) -> "Iterator[Sheet]":
        """The pixels where |u| <= ``side`` and v in [``top``, ``bottom``] can lie for any face of the chunk.

        Yields:
            A copy, so that painters run over contiguous memory; its grey is written back at the end.
        """
        lean = np.abs(p.skew) + np.abs(p.tilt_sin)
        reach = side + np.abs(p.turn) + 0.04
        slack = 0.04 + reach * lean
        rows = _span((top - slack) * p.scale + p.shift_y, (bottom + slack) * p.scale + p.shift_y)
        reach = (reach + np.abs(p.tilt_sin) * np.maximum(np.abs(top), np.abs(bottom))) * p.scale
        part = (slice(None), rows, _span(p.shift_x - reach, p.shift_x + reach))
        square = (-1, SIDE, SIDE)
        copies = [
            array.reshape(square)[part].reshape(len(array), -1) for array in (self.u, self.v, self.x, self.y, self.grey)
        ]
        inner = Sheet(*copies)
        yield inner
        target = self.grey.reshape(square)[part]
        target[:] = inner.grey.reshape(target.shape)

    def paint(self, alpha: np.ndarray, tone: Numbers) -> None:
        """Lays ``tone`` over the pixels, opaque where ``alpha`` is 1."""
        self.grey += alpha * (tone - self.grey)

    def shade(self, alpha: np.ndarray) -> None:
        """Darkens by the share ``alpha``; negative values lighten."""
        self.grey *= 1 - alpha


def _span(first: np.ndarray, last: np.ndarray) -> slice:
    """The rows or columns that hold picture coordinates ``first`` to ``last`` of any face."""
    low, high = (first.min() + 1) * (SIDE / 2) - 1, (last.max() + 1) * (SIDE / 2) + 2
    return slice(max(int(low), 0), min(int(high), SIDE))


def cover(inside: np.ndarray, soft: float = SOFT) -> np.ndarray:
    """Coverage of a shape from the distance to its edge (positive inside): 0 to 1 over the width ``soft``."""
    coverage = inside * (1 / soft)
    coverage += 0.5
    return np.clip(coverage, 0, 1, out=coverage)


def stroke(across: np.ndarray, half: Numbers, along: np.ndarray, reach: Numbers) -> np.ndarray:
    """Coverage of a line: ``across`` and ``along`` measured from its middle, half thickness and half length."""
    return cover(half - np.abs(across)) * cover(reach - np.abs(along), 0.08)


def blob(du: np.ndarray, dv: np.ndarray, ru: Numbers, rv: Numbers) -> np.ndarray:
    """A soft hill of height 1 with the radii ``ru`` and ``rv``."""
    hill = np.maximum(1 - np.square(du / ru) - np.square(dv / rv), 0)
    return hill * hill


def disc(du: np.ndarray, dv: np.ndarray, ru: Numbers, rv: Numbers) -> np.ndarray:
    """Coverage of an ellipse with the radii ``ru`` and ``rv``."""
    return cover((1 - np.sqrt(np.square(du / ru) + np.square(dv / rv))) * np.minimum(ru, rv))
