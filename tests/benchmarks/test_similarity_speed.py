"""Speed of the five similarity functions in their yardsticks' times; ``ratios.py`` runs them and judges the ratios."""

import time

import pytest
import torch
import yardstick
from plain_ways import CLOCK

from emobench.functional.similarity import scores as similarity

pytestmark = pytest.mark.benchmark(timer=CLOCK)
UNITS_OF_RANK_REORDER = {"25 concepts": 32, "3000 concepts": 4}
"""Its plain loop would take a quarter of an hour; so many units tell the time of one."""
CASES = [(size, name) for size in yardstick.SIZES for name in ("soft_wpmi", "wpmi")]
CASES += [(size, "rank_reorder") for size in UNITS_OF_RANK_REORDER]
COSINES = [(size, name) for size in list(yardstick.SIZES)[1:] for name in ("cos_similarity", "cos_similarity_cubed")]


@pytest.fixture(scope="module")
def drawn():
    """The inputs of the size that was asked for last: the largest takes 2.3 GB."""
    kept = {}

    def of(size):
        if size not in kept:
            kept.clear()
            kept[size] = yardstick.draw(*yardstick.SIZES[size])
        return kept[size]

    return of


@pytest.mark.parametrize(("size", "name"), sorted(CASES))
def test_similarity(benchmark, drawn, floors, size, name):
    scores, activations = drawn(size)
    plain, fast = getattr(yardstick, name), getattr(similarity, name)
    some, times = activations, 1.0
    if name == "rank_reorder":
        fast = lambda s, a: similarity.rank_reorder(s, a, generator=torch.Generator().manual_seed(0))  # noqa: E731
        some = activations[:, : UNITS_OF_RANK_REORDER[size]].contiguous()
        times = activations.shape[1] / some.shape[1]
    options = {"rounds": 6, "plain_rounds": 2, "times": times, "seconds": time.perf_counter}
    floor = floors[f"{name}, {size}"]
    CLOCK.against(benchmark, lambda: plain(scores, some), lambda: fast(scores, activations), floor=floor, **options)


@pytest.mark.parametrize(("size", "name"), COSINES)
def test_cosine(benchmark, drawn, floors, size, name):
    scores, activations = drawn(size)
    plain, fast = (lambda: yardstick.matrix_product(scores, activations)), getattr(similarity, name)
    floor = floors[f"{name}, {size}"]
    CLOCK.against(benchmark, plain, lambda: fast(scores, activations), floor=floor, seconds=time.perf_counter)
