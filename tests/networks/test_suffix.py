import pytest
import torch

from emobench.errors import UserError
from emobench.functional.edits import edited_state
from emobench.networks import suffix
from emobench.networks.suffix import SuffixEvaluator
from emobench.networks.vggnet import VGGNet
from emobench.params import LAYERS

EDITABLE = LAYERS[:-1]


def network(width=0.05, seed=0):
    """A network in evaluation mode whose BatchNorm has statistics, and gains of both signs."""
    generator = torch.Generator().manual_seed(seed)
    model = VGGNet(width=width).eval()
    state = {}
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            value = noise.square() + 0.5 if name.endswith("running_var") else noise * max(1, value[0].numel()) ** -0.5
        state[name] = value
    model.load_state_dict(state)
    return model


def images(count=6, seed=1):
    return torch.rand(count, 1, 40, 40, generator=torch.Generator().manual_seed(seed))


def edited_forward(model, layer, scale, shift, inputs):
    """The whole edited network: rows of the weight scaled, and the bias replaced if there is a shift."""
    edited = VGGNet(width=0.05).eval()
    state = edited_state(model.state_dict(), layer, scale)
    if shift is not None:
        state[f"{layer}.bias"] = shift
    edited.load_state_dict(state)
    with torch.inference_mode():
        return edited(inputs)


def draw(evaluator, configs=4, seed=2):
    """Random scales, some negative and some zero; each configuration changes a few units of the one before."""
    generator = torch.Generator().manual_seed(seed)
    scales = [torch.randn(evaluator.units, generator=generator) + 1]
    for _ in range(configs - 1):
        changed = torch.rand(evaluator.units, generator=generator) < 0.3
        new = torch.randint(-1, 4, (evaluator.units,), generator=generator) / 2
        scales.append(torch.where(changed, new, scales[-1]))
    return torch.stack(scales)


@pytest.fixture(params=EDITABLE)
def evaluator(request, monkeypatch):
    monkeypatch.setattr(suffix, "BLOCK_IMAGES", 4)
    return SuffixEvaluator(network(), request.param, images())


def test_equals_the_edited_network(evaluator):
    model, inputs, scales = network(), images(), draw(evaluator)
    batch = evaluator.logits(scales)
    assert batch.shape == (4, 6, 7)
    for scale, logits in zip(scales, batch, strict=True):
        expected = edited_forward(model, evaluator.layer, scale, None, inputs)
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(evaluator.logits(scale), expected, atol=1e-4, rtol=1e-5)


def test_equals_the_edited_network_with_a_shift(evaluator):
    scales, shifts = draw(evaluator), draw(evaluator, seed=3)
    batch = evaluator.logits(scales, shifts)
    for scale, shift, logits in zip(scales, shifts, batch, strict=True):
        expected = edited_forward(network(), evaluator.layer, scale, shift, images())
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-5)


def test_a_scale_of_one_is_bit_equal_to_the_unedited_run(evaluator):
    ones = torch.ones(evaluator.units)
    unedited = evaluator.unedited()
    assert torch.equal(evaluator.logits(ones), unedited)
    nearly = ones.clone()
    nearly[0] = 2
    batch = evaluator.logits(torch.stack([nearly, ones, nearly * 2, ones]))
    assert torch.equal(batch[1], unedited)
    assert torch.equal(batch[3], unedited)
    with torch.inference_mode():
        torch.testing.assert_close(unedited, network()(images()), atol=1e-4, rtol=1e-5)


def test_the_network_is_left_as_it_was(evaluator):
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    SuffixEvaluator(model, evaluator.layer, images(2)).logits(draw(evaluator))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("layer", ["conv4b", "lin1", "lin2"])
def test_long_chains_of_changes_stay_exact(layer, monkeypatch):
    evaluator = SuffixEvaluator(network(), layer, images())
    ones = torch.ones(evaluator.units)
    steps = torch.stack([ones.index_fill(0, torch.tensor([unit % evaluator.units]), 0.0) for unit in range(300)])
    chained = evaluator.logits(steps)
    monkeypatch.setattr(suffix, "UPDATES_BEFORE_REFRESH", 0)
    torch.testing.assert_close(chained, evaluator.logits(steps), atol=1e-5, rtol=1e-5)
    assert chained.std(0).max() > 1e-3


@pytest.mark.parametrize("layer", ["lin1", "lin2"])
def test_rows_and_bias_by_a_factor_are_the_next_layers_columns_by_it(layer):
    model = network()
    evaluator = SuffixEvaluator(model, layer, images())
    scale = draw(evaluator)[0].abs()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state[f"{LAYERS[LAYERS.index(layer) + 1]}.weight"] *= scale
    other = network(seed=5)
    other.load_state_dict(state)
    with torch.inference_mode():
        expected = other(images())
    bias = model.get_submodule(layer).bias.detach()
    torch.testing.assert_close(evaluator.logits(scale, scale * bias), expected, atol=1e-4, rtol=1e-5)


def test_bad_input():
    evaluator = SuffixEvaluator(network(), "lin2", images(2))
    with pytest.raises(UserError, match=r"unknown layer to edit 'lin3'; known: conv1a.*lin2"):
        SuffixEvaluator(network(), "lin3", images(2))
    with pytest.raises(ValueError, match="training mode"):
        SuffixEvaluator(network().train(), "lin2", images(2))
    with pytest.raises(UserError, match="layer conv1a gives NaN"):
        SuffixEvaluator(network(), "conv1a", torch.full((1, 1, 40, 40), torch.nan))
    with pytest.raises(ValueError, match=r"scale is \(3,\) for lin2; expected \(205,\)"):
        evaluator.logits(torch.ones(3))
    with pytest.raises(ValueError, match=r"shift is \(205,\) and scale \(2, 205\)"):
        evaluator.logits(torch.ones(2, 205), torch.ones(205))
    with pytest.raises(ValueError, match="scale holds NaN"):
        evaluator.logits(torch.full((205,), torch.nan))


def test_one_block_a_core_gives_what_one_after_the_other_gives(evaluator):
    scales, threads = draw(evaluator), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = evaluator.logits(scales)
        torch.set_num_threads(2)
        assert torch.equal(evaluator.logits(scales), alone)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
