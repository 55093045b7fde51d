"""How many edits a second: SuffixEvaluator against copying the network, editing the rows and running all of it again.

Run with: pytest --benchmark-only tests/benchmarks/test_suffix_speed.py. Scales are random for every unit and
configuration, the dearest case; for lin2 also the two scales of a selection in random orders, what random controls are.
Both sides grow linearly with the images; a quarter of FER2013's 7,178 is taken. ``times_arithmetic_limit`` is the time
over that of the multiplications that no evaluation can do without, at the speed of a large matrix product.
"""

import functools
import time

import pytest
import torch
from plain_ways import CLOCK
from small_network import new_network
from waits_later import edited_forward

from emobench.functional.edits import selection_scale
from emobench.sweeps.suffix import SuffixEvaluator

pytestmark = pytest.mark.benchmark(timer=CLOCK)
IMAGES = 1794
LEAST_RATIO = {"lin2": 500, "lin2 permuted": 1500, "lin1": 15, "conv4b": 8}
CONFIGS = {"lin2": 16, "lin2 permuted": 200, "lin1": 2, "conv4b": 2}
PRODUCTS = {"lin2": 4096 * 7, "lin1": 4096 * 4096 + 4096 * 7, "conv4b": 2048 * 4096 + 4096 * 4096 + 4096 * 7}
"""Multiplications that follow the edited layer's activation, for one image and configuration."""


@pytest.fixture(scope="module")
def setting(request):
    if not request.config.getoption("benchmark_only"):
        pytest.skip("a benchmark: run it with --benchmark-only")
    return new_network(1.0, 0.2, seed=0).eval(), torch.rand(
        IMAGES, 1, 40, 40, generator=torch.Generator().manual_seed(0)
    )


@pytest.fixture(scope="module")
def loop(setting):
    """One configuration the way the published code evaluates it. Which layer is edited makes no difference."""
    network, inputs = setting
    scale = selection_scale(torch.arange(len(network.lin2.weight)) % 16 > 0, 1.5)
    return functools.partial(edited_forward, network, "lin2", scale, inputs)


@pytest.fixture(scope="module")
def products_per_second():
    """Multiplications (with their additions) a second of a large matrix product on all cores: the arithmetic limit."""
    square = torch.rand(2048, 2048)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        square @ square
        seconds.append(time.perf_counter() - start)
    return 2048**3 / min(seconds)


def drawn_scales(case, units):
    generator = torch.Generator().manual_seed(1)
    if case != "lin2 permuted":
        return torch.rand(CONFIGS[case], units, generator=generator) * 2
    scale = selection_scale(torch.arange(units) % 16 > 0, 1.5)
    return torch.stack([scale[torch.randperm(units, generator=generator)] for _ in range(CONFIGS[case])])


@pytest.mark.parametrize("case", LEAST_RATIO)
def test_configurations_a_second(case, setting, loop, products_per_second, benchmark):
    (network, inputs), layer = setting, case.split()[0]
    evaluator = SuffixEvaluator(network, layer, inputs)
    scales = drawn_scales(case, evaluator.units)
    options = {"rounds": 3, "plain_rounds": 1, "times": len(scales), "seconds": time.perf_counter}
    CLOCK.against(benchmark, loop, lambda: evaluator.logits(scales), floor=LEAST_RATIO[case], **options)
    seconds = benchmark.extra_info["seconds"] / len(scales)
    limit = PRODUCTS[layer] * IMAGES / products_per_second
    benchmark.extra_info["times_arithmetic_limit"] = seconds / limit
