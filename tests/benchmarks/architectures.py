"""Tries architectures of torchvision and timm with random weights: can they be exported, are edits exact, how quick.

Run with: python tests/benchmarks/architectures.py. Writes reports/architectures.csv, a line an architecture. Times are
CPU seconds of one thread; ``speed`` is copying the network, editing it and running all of it, over an edit by the
evaluator (scales random in every unit), for the first, the middle and the last layer before the classifier.
"""

import copy
import time
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from emobench.files import write_csv
from emobench.networks.sources import build_network
from emobench.sweeps.suffix import SuffixEvaluator

FILE = Path(__file__).parents[2] / "reports/architectures.csv"
CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
IMAGES, CONFIGS, CHECKED, ROUNDS = 16, 4, 7, 3
SIDE_64, SIDE_96, SIDE_224 = 64, 96, 224
ARCHITECTURES = {
    "vggnet": (None, {"width": 0.25}),
    "deep_emotion": (None, {}),
    **{
        f"torchvision/{name}": (SIDE_64, {})
        for name in (
            "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "mobilenet_v2", "mobilenet_v3_small",
            "efficientnet_b0", "convnext_tiny", "densenet121", "shufflenet_v2_x1_0", "mnasnet1_0", "regnet_y_400mf",
            "swin_t", "squeezenet1_1", "vgg11_bn", "googlenet",
        )
    },
    "torchvision/alexnet": (SIDE_224, {}),
    "torchvision/inception_v3": (SIDE_96, {}),
    "torchvision/vit_b_16": (SIDE_64, {"image_size": SIDE_64}),
    **{
        f"timm/{name}": (SIDE_64, {})
        for name in (
            "resnet18", "resnet26d", "seresnet18", "efficientnet_b0", "mobilenetv3_small_100", "mobilenetv4_conv_small",
            "convnextv2_atto", "ghostnet_100", "repvgg_a0", "resnetv2_50", "xception41", "hrnet_w18_small",
        )
    },
    **{
        f"timm/{name}": (SIDE_64, {"img_size": SIDE_64})
        for name in ("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "mixer_s16_224", "resmlp_12_224")
    },
}  # fmt: skip


def main() -> None:
    """Writes the table anew after each architecture, so that an interrupted run leaves what it has."""
    torch.set_num_threads(1)
    rows = []
    for architecture, (side, options) in ARCHITECTURES.items():
        rows.append(row(architecture, side, options))
        print(rows[-1], flush=True)
        write_csv(FILE, pd.DataFrame(rows))


def row(architecture: str, side: int | None, options: dict) -> dict:
    """One architecture's line."""
    start = time.process_time()
    network = build_network(architecture, options, classes=CLASSES, input={"size": (side, side)} if side else None)
    seconds = time.process_time() - start
    model = randomised(network.model)
    card = network.card.input
    inputs = torch.rand(IMAGES, card.channels, *card.size, generator=torch.Generator().manual_seed(0))
    layers = [layer for layer in network.layers if layer is not network.layers[-1]]
    places = torch.linspace(0, len(layers) - 1, min(CHECKED, len(layers))).round().int().tolist()
    found = {place: checked(model, layers[place], inputs) for place in dict.fromkeys(places)}
    ways = [layer.way for layer in network.layers]
    return {
        "architecture": architecture,
        "size": card.size[0],
        "exported": not network.card.whole,
        "layers": len(ways),
        **{way: ways.count(way) for way in ("quick", "cut", "whole")},
        "checked": len(found),
        "worst_relative_error": max(error for error, _ in found.values()),
        "speed_first": found[places[0]][1],
        "speed_middle": found[places[len(places) // 2]][1],
        "speed_last": found[places[-1]][1],
        "looking_seconds": seconds,
    }


def randomised(model: nn.Module) -> nn.Module:
    """BatchNorm as if it had been trained, and no head of zeros."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
                if module.affine:
                    nn.init.uniform_(module.weight, -0.3, 1.5)
            if isinstance(module, nn.Linear) and not module.weight.any():
                nn.init.normal_(module.weight)
    return model


def checked(model: nn.Module, layer, inputs: torch.Tensor) -> tuple[float, float]:
    """Worst relative error over some edits, and how many times quicker than copying and running all."""
    scales = torch.randn(CONFIGS, layer.units, generator=torch.Generator().manual_seed(2)) + 1
    evaluator = SuffixEvaluator(model, layer.name, inputs)
    errors, copying, ours = [], [], []
    for _ in range(ROUNDS):
        start = time.process_time()
        came = evaluator.logits(scales)
        ours.append((time.process_time() - start) / CONFIGS)
    for scale, logits in zip(scales, came, strict=True):
        start = time.process_time()
        edited = copy.deepcopy(model)
        with torch.no_grad():
            weight = dict(edited.named_parameters())[layer.weight]
            weight *= scale.reshape(-1, *[1] * (weight.ndim - 1))
            expected = edited(inputs)
        copying.append(time.process_time() - start)
        errors.append(float((logits - expected).abs().max() / expected.abs().max()))
    return max(errors), min(copying) / min(ours)


if __name__ == "__main__":
    main()
