"""Copies among images: exact ones by their pixels, near ones by a perceptual hash and the correlation of pixels."""

import hashlib
from collections.abc import Iterator

import numpy as np
from PIL import Image
from scipy.fft import dctn

from emobench.progress import progress

MIN_CORRELATION = 0.9
"""Of the pixels of two near copies. In FER2013 pairs above it show one photograph, whatever their hashes."""
HASH_BITS = 64
SMALL = 64
"""Pixels of a side that are enough to tell near copies."""
_BLOCK = 2048
_HASH_BLOCK = 64
"""Rows compared at a time: so few that the distances to all other rows stay in the processor's cache."""


def exact_copies(images: np.ndarray) -> np.ndarray:
    """Finds images with the same pixels.

    Args:
        images: uint8 (n, height, width) or (n, height, width, 3).

    Returns:
        int64 (n,): for each image the row of the first one with its pixels, which may be itself.
    """
    first: dict[bytes, int] = {}
    # Digests, not pixels, as keys: the pixels of a large set would be in memory twice.
    digests = (hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=24).digest() for image in images)
    return np.array([first.setdefault(digest, row) for row, digest in enumerate(digests)], np.int64)


def near_copies(images: np.ndarray, first: np.ndarray, distance: int) -> np.ndarray:
    """Finds, for each image, the first earlier one that shows nearly the same and isn't an exact copy.

    Near are images whose hashes differ in at most ``distance`` bits and whose pixels correlate with at least
    MIN_CORRELATION: moved or scaled by a pixel or two, in other light, with a watermark.

    Args:
        images: uint8 (n, height, width) or (n, height, width, 3); compared in grey, and small ones of large pictures.
        first: what :func:`exact_copies` says about them.
        distance: 0 to 64.

    Returns:
        int64 (n,): the row of the near copy, which is the first of its own exact copies; -1 where there is none.
    """
    unique, images = np.unique(first), small_grey(images)
    nearest = np.full(len(images), len(images), np.int64)
    for later, earlier in _near_pairs(images, unique, distance):
        np.minimum.at(nearest, later, earlier)
        np.minimum.at(nearest, earlier, later)
    nearest = nearest[first]
    # An extra copy may stand behind a near copy that its first copy stands before: so both ways, then earlier only.
    return np.where(nearest < np.arange(len(images)), nearest, -1)


def small_grey(images: np.ndarray) -> np.ndarray:
    """Grey versions uint8 (n, h, w); pictures with a side above SMALL pixels are scaled down to SMALL x SMALL."""
    if images.ndim == 3 and max(images.shape[1:]) <= SMALL:
        return images
    small = np.empty((len(images), *(min(side, SMALL) for side in images.shape[1:3])), np.uint8)
    for row, image in enumerate(images):
        grey = Image.fromarray(image).convert("L")
        small[row] = np.asarray(grey.resize(small.shape[:0:-1], Image.Resampling.BILINEAR))
    return small


def perceptual_hashes(images: np.ndarray) -> np.ndarray:
    """The signs of the 64 lowest frequencies of each image's cosine transform (without the mean) as uint64 (n,)."""
    size = images.shape[1:]
    frequencies = [(row, column) for row in range(size[0]) for column in range(size[1]) if row + column]
    rows, columns = np.array(sorted(frequencies, key=lambda pair: (sum(pair), pair))[:HASH_BITS]).T
    hashes = np.empty(len(images), np.uint64)
    for start in range(0, len(images), _BLOCK):
        waves = dctn(images[start : start + _BLOCK].astype(np.float32), axes=(1, 2))[:, rows, columns]
        hashes[start : start + _BLOCK] = np.packbits(np.ascontiguousarray(waves > 0), axis=1).view(np.uint64)[:, 0]
    return hashes


def _near_pairs(images: np.ndarray, unique: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields rows (later, earlier) of near pairs among the rows ``unique``, some at a time."""
    # A block of rows at a time: picking all of them out would copy every image.
    blocks = (unique[start : start + _BLOCK] for start in range(0, len(unique), _BLOCK))
    hashes = np.concatenate([np.empty(0, np.uint64), *(perceptual_hashes(images[rows]) for rows in blocks)])
    for start in progress(range(0, len(unique), _HASH_BLOCK), desc="near copies", unit="block"):
        stop = min(start + _HASH_BLOCK, len(unique))
        close = np.bitwise_count(hashes[start:stop, None] ^ hashes[None, :stop]) <= distance
        later, earlier = np.divmod(np.flatnonzero(close), stop)
        later += start
        later, earlier = later[earlier < later], earlier[earlier < later]
        for at in range(0, len(later), _BLOCK):
            pair = unique[later[at : at + _BLOCK]], unique[earlier[at : at + _BLOCK]]
            alike = _correlations(images[pair[0]], images[pair[1]]) >= MIN_CORRELATION
            yield pair[0][alike], pair[1][alike]


def _correlations(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the pixels of paired images (m,); 0 where one is uniform."""
    left, right = (images.reshape(len(images), -1).astype(np.float32) for images in (left, right))
    left, right = (images - images.mean(axis=1, keepdims=True) for images in (left, right))
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.einsum("ij,ij->i", left, right) / np.maximum(norms, np.finfo(np.float32).tiny)
