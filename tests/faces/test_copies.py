"""Exact and near copies against plain loops over all pairs."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from tiny_fer2013 import noise

from emobench.faces.copies import MIN_CORRELATION, SMALL, exact_copies, near_copies, perceptual_hashes, small_grey

COUNT = 110


def smooth(count: int, seed: int) -> np.ndarray:
    """Images with low frequencies, as photographs have: uint8 (count, 48, 48)."""
    return np.stack(
        [np.uint8(np.clip((gaussian_filter(image, 4) - 127.0) * 8 + 127, 0, 255)) for image in noise(count, seed)]
    )


def oracle(images, first, distance) -> list[int]:
    hashes = [int(value) for value in perceptual_hashes(images)]
    found = []
    for row in range(len(images)):
        near = -1
        for other in reversed(range(row)):
            close = (hashes[row] ^ hashes[other]).bit_count() <= distance and first[row] != first[other]
            if close and np.corrcoef(images[row].ravel(), images[other].ravel())[0, 1] >= MIN_CORRELATION:
                near = other
        found.append(near)
    return found


def test_exact_copies() -> None:
    images = noise(6)[[0, 1, 0, 2, 1, 0]]
    assert exact_copies(images).tolist() == [0, 1, 0, 3, 1, 0]
    almost = images.copy()
    almost[5, 47, 47] ^= 1
    assert exact_copies(almost)[5] == 5


@pytest.mark.parametrize("distance", [0, 3, 8, 64])
def test_near_copies_agree_with_a_loop_over_all_pairs(distance) -> None:
    rng = np.random.default_rng(distance)
    images = smooth(70, seed=2)[rng.integers(0, 70, COUNT)]
    changed = rng.random(COUNT) < 0.5
    grain = rng.normal(0, rng.choice([2, 20, 60], COUNT)[:, None, None], images.shape)
    images[changed] = np.clip(images + grain, 0, 255).astype(np.uint8)[changed]
    first = exact_copies(images)
    assert (first < np.arange(COUNT)).sum() > 10
    found = near_copies(images, first, distance)
    assert found.tolist() == oracle(images, first, distance)
    assert (found >= 0).any()


def test_a_moved_and_a_lighter_copy_are_near_and_another_picture_is_not() -> None:
    image, other = smooth(2, seed=3)
    images = np.stack([image, other, np.roll(image, 1, axis=1), np.uint8(image * 0.6 + 60), image])
    assert near_copies(images, exact_copies(images), 6).tolist() == [-1, -1, 0, 0, 2]


def test_uniform_images_are_near_copies_of_nothing() -> None:
    images = np.stack([np.full((48, 48), level, np.uint8) for level in (0, 1, 200)])
    assert near_copies(images, exact_copies(images), 64).tolist() == [-1, -1, -1]


def test_copies_among_large_pictures_in_colour() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 200, (3, 6, 6, 3)).astype(np.uint8)
    images = np.kron(coarse, np.ones((1, 20, 20, 1), np.uint8))
    brighter = images[0] + 20
    images = np.stack([images[0], images[1], brighter, images[2], images[1]])
    first = exact_copies(images)
    assert first.tolist() == [0, 1, 2, 3, 1]
    assert near_copies(images, first, 4).tolist() == [-1, -1, 0, -1, -1]
    grey = small_grey(images)
    assert (grey.shape, grey.dtype) == ((5, SMALL, SMALL), np.uint8)
    small = rng.integers(0, 256, (2, 48, 48), dtype=np.uint8)
    assert small_grey(small) is small
    assert small_grey(images[:, :48, :40]).shape == (5, 48, 40)
