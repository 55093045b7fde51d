"""How many edits a second of networks that emobench knows nothing of, against copying, editing and running all of it.

Run with: pytest --benchmark-only tests/benchmarks/test_any_network_speed.py. One thread, random scales in every unit.
A middle block cannot beat all multiplications over those after the cut: its floor is a share of that.
"""

import copy
import time

import pytest
import timm
import torch
import torchvision

from emobench.networks.layers import unit_layers
from emobench.sweeps.suffix import SuffixEvaluator

IMAGES, BATCH, CONFIGS = 128, 64, 8
NETWORKS = {
    "resnet18": lambda: torchvision.models.resnet18(num_classes=7),
    "vit": lambda: timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=7),
}
LEAST_RATIO = {("resnet18", "layer4.1.conv2"): 100, ("vit", "blocks.11.mlp.fc2"): 100}
MIDDLE = [("resnet18", "layer2.1.conv2"), ("vit", "blocks.5.mlp.fc2")]
LEAST_SHARE = 0.8


@pytest.fixture(scope="module", params=NETWORKS)
def setting(request):
    if not request.config.getoption("benchmark_only"):
        pytest.skip("a benchmark: run it with --benchmark-only")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, inputs = NETWORKS[request.param]().eval(), torch.rand(IMAGES, 3, 64, 64)
    yield request.param, model, inputs, loop_seconds(model, inputs)
    torch.set_num_threads(threads)


def loop_seconds(model, inputs):
    """One configuration the way the published code evaluates it, the quickest of three."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        edited = copy.deepcopy(model)
        with torch.inference_mode():
            next(edited.parameters()).mul_(1.5)
            for batch in inputs.split(BATCH):
                edited(batch)
        seconds.append(time.process_time() - start)
    return min(seconds)


@pytest.mark.parametrize("place", ["last", "middle"])
def test_configurations_a_second(place, setting, benchmark):
    name, model, inputs, loop = setting
    layer = next(layer for network, layer in (LEAST_RATIO if place == "last" else MIDDLE) if network == name)
    cards = unit_layers(model, inputs)
    index = next(index for index, card in enumerate(cards) if card.name == layer)
    evaluator = SuffixEvaluator(model, layer, inputs)
    scales = torch.rand(CONFIGS, evaluator.units, generator=torch.Generator().manual_seed(1)) * 2
    seconds = []

    def run():
        start = time.process_time()
        evaluator.logits(scales)
        seconds.append((time.process_time() - start) / CONFIGS)

    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    ratio = loop / min(seconds)
    products = [card.products for card in cards]
    least = LEAST_RATIO.get((name, layer)) or LEAST_SHARE * sum(products) / sum(products[index + 1 :])
    benchmark.extra_info |= {"ratio": ratio, "least_ratio": least}
    print(f"{name} {layer}: {ratio:.1f} times, at least {least:.1f}")
    assert ratio >= least
