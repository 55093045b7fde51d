import copy

import joblib
import numpy as np
import pytest
import torch
from networks_at_hand import NETWORKS, SLOW, Branching, edited_answer, network, off

from emobench.errors import UserError
from emobench.networks.cut import cut
from emobench.networks.layers import unit_layers
from emobench.networks.network import Pictures
from emobench.sweeps import suffix
from emobench.sweeps.suffix import SuffixEvaluator

NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in NETWORKS]


def some_layers(model, inputs):
    """Early, middle and late ones, and one of each kind and way."""
    layers = unit_layers(model, inputs)
    places = {0, len(layers) // 3, len(layers) // 2, len(layers) - 2, len(layers) - 1}
    first = {(layer.kind, layer.way): place for place, layer in reversed(list(enumerate(layers)))}
    return [layers[place] for place in sorted(places | set(first.values()))]


def draw(units, configs=3):
    """Scales of both signs; the second differs from the first in few units."""
    generator = torch.Generator().manual_seed(units)
    scales = torch.randn(configs, units, generator=generator) + 1
    scales[1] = torch.where(torch.rand(units, generator=generator) < 0.2, scales[1], scales[0])
    return scales


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_the_edited_network(name, monkeypatch):
    monkeypatch.setattr(suffix, "BLOCK_IMAGES", 3)
    model, inputs = network(name)
    for layer in some_layers(model, inputs):
        evaluator, scales = SuffixEvaluator(model, layer.name, inputs), draw(layer.units)
        for scale, logits in zip(scales, evaluator.logits(scales), strict=True):
            assert off(logits, edited_answer(model, layer.weight, scale, inputs)) < 1e-4, layer
        if layer.bias is not None:
            shift = draw(layer.units, 2)[1]
            expected = edited_answer(model, layer.weight, scales[0], inputs, layer.bias, shift)
            assert off(evaluator.logits(scales[0], shift), expected) < 1e-4, layer
        ones = torch.ones(layer.units)
        assert torch.equal(evaluator.logits(torch.stack([scales[0], ones]))[1], evaluator.unedited()), layer
        assert off(evaluator.unedited(), edited_answer(model, layer.weight, ones, inputs)) < 1e-4


def test_a_shift_is_added_where_the_layer_has_no_bias():
    model, inputs = network("toy")
    scale, shift = draw(8, 2)[1], draw(8)[2]
    edited = torch.nn.Conv2d(3, 8, 3, stride=2, dilation=2)
    with torch.no_grad():
        edited.weight.copy_(model.wide.weight * scale[:, None, None, None])
        edited.bias.copy_(shift)
        came = SuffixEvaluator(model, "wide", inputs).logits(scale, shift)
        changed = copy.deepcopy(model)
        changed.wide = edited
        assert off(came, changed(inputs)) < 1e-4


PERMUTED = [("resnet18", "layer4.1.conv2"), ("mobilenet", "classifier.0"), ("vggnet reordered", "lin2")]
PERMUTED += [("mean of maps reordered", "beside")]


@pytest.mark.parametrize(
    ("name", "layer"), [pytest.param(*one, marks=[pytest.mark.slow] * (one[0] in SLOW)) for one in PERMUTED]
)
def test_permuted_scales_go_by_products(name, layer, monkeypatch):
    model, inputs = network(name)
    evaluator = SuffixEvaluator(model, layer, inputs)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.rand(100, evaluator.units, generator=generator) < 0.4
    scales = torch.where(chosen, 1.5, 0.5)
    together = evaluator.logits(scales)
    asked = []
    monkeypatch.setattr(suffix, "groups", lambda *args, **options: asked.append(1) or [])
    assert off(together, evaluator.logits(scales)) < 1e-5
    assert asked == [1]


def test_a_network_without_a_graph_runs_whole():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, inputs = Branching().eval(), torch.rand(5, 3, 12, 12)
    assert [(layer.name, layer.way) for layer in unit_layers(model, inputs)] == [
        ("first", "whole"), ("second", "whole"), ("head", "whole"),
    ]  # fmt: skip
    for layer in ("first", "second"):
        evaluator = SuffixEvaluator(model, layer, inputs)
        for scale, logits in zip(scales := draw(evaluator.units), evaluator.logits(scales), strict=True):
            assert off(logits, edited_answer(model, f"{layer}.weight", scale, inputs)) < 1e-4
        assert torch.equal(evaluator.logits(torch.ones(evaluator.units)), evaluator.unedited())
    assert not model.first._forward_hooks


def logits_of(at, layer, inputs, scales):
    torch.set_num_threads(1)
    return SuffixEvaluator(at, layer, torch.tensor(inputs)).logits(torch.tensor(scales)).numpy()


@pytest.mark.slow
def test_a_cut_can_be_sent_to_other_processes():
    model, inputs = network("torchvision vit")
    layer = "encoder.layers.encoder_layer_1.self_attention.in_proj"
    at, scales = cut(model, layer, inputs), draw(96)
    here = SuffixEvaluator(at, layer, inputs).logits(scales)
    work = joblib.Parallel(n_jobs=2, backend="loky")
    there = work(joblib.delayed(logits_of)(at, layer, part, scales.numpy()) for part in np.split(inputs.numpy(), [3]))
    assert off(torch.from_numpy(np.concatenate(there, 1)), here) < 1e-6


def test_inputs_may_be_made_by_blocks(monkeypatch):
    monkeypatch.setattr(suffix, "BLOCK_IMAGES", 2)
    model, _ = network("vggnet")
    images = np.random.default_rng(0).integers(0, 256, (7, 40, 40), dtype=np.uint8)
    asked = []

    def transform(block):
        asked.append(len(block))
        return torch.from_numpy(block)[:, None].float() / 255

    rows = np.array([6, 1, 3, 2, 0])
    lazily = SuffixEvaluator(model, "lin1", Pictures(transform, images, rows)).unedited()
    assert torch.equal(lazily, SuffixEvaluator(model, "lin1", transform(images[rows])).unedited())
    assert asked[:4] == [2, 2, 2, 1]


@pytest.mark.parametrize(
    ("scale", "shift", "said"),
    [
        (torch.ones(4), None, r"scale is \(4,\) for mix; expected \(12,\) or \(configs, 12\)"),
        (torch.full((12,), torch.nan), None, "scale holds NaN or infinity"),
        (torch.ones(2, 12), torch.ones(12), "expected the same shape"),
    ],
)
def test_what_does_not_fit_is_refused(scale, shift, said):
    model, inputs = network("toy")
    with pytest.raises(ValueError, match=said):
        SuffixEvaluator(model, "mix", inputs).logits(scale, shift)


def test_nan_is_told_with_the_layer():
    model, inputs = network("deep_emotion")
    inputs[1, 0, 3, 3] = torch.nan
    with pytest.raises(UserError, match="layer conv1 gives NaN"):
        SuffixEvaluator(model, "conv1", inputs)


def test_a_cut_at_another_layer_is_refused():
    model, inputs = network("toy")
    with pytest.raises(ValueError, match="cut at mix; expected head"):
        SuffixEvaluator(cut(model, "mix", inputs), "head", inputs)
