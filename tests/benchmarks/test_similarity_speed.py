"""Times of the five similarity functions and of their yardsticks; ``ratios.py`` runs them and judges the ratios."""

import importlib.util
from pathlib import Path

import pytest
import torch

from emobench.functional import similarity

SPEC = importlib.util.spec_from_file_location("yardstick", Path(__file__).with_name("yardstick.py"))
yardstick = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(yardstick)

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


def measure(benchmark, size, name, way, function, scores, activations, rounds):
    benchmark.group = f"{name}, {size}"
    benchmark.extra_info.update(way=way, units=activations.shape[1])
    benchmark.pedantic(function, (scores, activations), rounds=rounds)


@pytest.mark.parametrize(("size", "name", "way"), [(*c, way) for c in sorted(CASES) for way in ("plain", "fast")])
def test_similarity(benchmark, drawn, size, name, way):
    scores, activations = drawn(size)
    plain, fast = getattr(yardstick, name), getattr(similarity, name)
    if name == "rank_reorder":
        fast = lambda s, a: similarity.rank_reorder(s, a, generator=torch.Generator().manual_seed(0))  # noqa: E731
        if way == "plain":
            activations = activations[:, : UNITS_OF_RANK_REORDER[size]].contiguous()
    if way == "fast":
        fast(scores[:2000].contiguous(), activations[:2000].contiguous())  # compiles, or reads what was compiled
    measure(
        benchmark, size, name, way, plain if way == "plain" else fast, scores, activations, 2 if way == "plain" else 7
    )


@pytest.mark.parametrize(("size", "name"), COSINES)
@pytest.mark.parametrize("way", ["plain", "fast"])
def test_cosine(benchmark, drawn, size, name, way):
    scores, activations = drawn(size)
    function = yardstick.matrix_product if way == "plain" else getattr(similarity, name)
    function(scores[:2000].contiguous(), activations[:2000].contiguous())
    measure(benchmark, size, name, way, function, scores, activations, 5)
