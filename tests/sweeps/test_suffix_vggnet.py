from functools import cache

import pytest
import torch
from small_network import inputs_of, new_network

from emobench.errors import UserError
from emobench.functional.edits import edited_state
from emobench.networks.vggnet import LAYERS, VGGNet
from emobench.sweeps import fronts, planning, suffix
from emobench.sweeps.suffix import SuffixEvaluator

EDITABLE = LAYERS[:-1]


@cache
def network(width=0.05, seed=0):
    """A network in evaluation mode whose BatchNorm has statistics, and gains of both signs.

    Made once, not to be changed: torch.export takes a second for each network.
    """
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
    state = edited_state(model.state_dict(), f"{layer}.weight", scale)
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
    model, before = network(), network.__wrapped__().state_dict()
    SuffixEvaluator(model, evaluator.layer, images(2)).logits(draw(evaluator))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("layer", ["conv4b", "lin1", "lin2"])
def test_long_chains_of_changes_stay_exact(layer, monkeypatch):
    evaluator = SuffixEvaluator(network(), layer, images())
    ones = torch.ones(evaluator.units)
    steps = torch.stack([ones.index_fill(0, torch.tensor([unit % evaluator.units]), 0.0) for unit in range(300)])
    chained = evaluator.logits(steps)
    monkeypatch.setattr(planning, "UPDATES_BEFORE_REFRESH", 0)
    torch.testing.assert_close(chained, evaluator.logits(steps), atol=1e-5, rtol=1e-5)
    assert chained.std(0).max() > 1e-3


@pytest.mark.parametrize("layer", ["lin1", "lin2"])
def test_rows_and_bias_by_a_factor_are_the_next_layers_columns_by_it(layer):
    model = network()
    evaluator = SuffixEvaluator(model, layer, images())
    scale = draw(evaluator)[0].abs()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state[f"{LAYERS[LAYERS.index(layer) + 1]}.weight"] *= scale
    other = VGGNet(width=0.05).eval()
    other.load_state_dict(state)
    with torch.inference_mode():
        expected = other(images())
    bias = model.get_submodule(layer).bias.detach()
    torch.testing.assert_close(evaluator.logits(scale, scale * bias), expected, atol=1e-4, rtol=1e-5)


def test_bad_input():
    evaluator = SuffixEvaluator(network(), "lin2", images(2))
    with pytest.raises(UserError, match=r"unknown layer 'lin9'; known: conv1a.*lin3"):
        SuffixEvaluator(network(), "lin9", images(2))
    with pytest.raises(ValueError, match="training mode"):
        SuffixEvaluator(VGGNet(width=0.05).train(), "lin2", images(2))
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


def permuted(values, configs, units, seed=0):
    """Configurations of the same values, each in an order of its own."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.tensor(values)[torch.arange(units) % len(values)]
    return torch.stack([base[torch.randperm(units, generator=generator)] for _ in range(configs)])


@pytest.fixture
def lin2(monkeypatch):
    monkeypatch.setattr(suffix, "BLOCK_IMAGES", 4)
    monkeypatch.setattr(fronts, "GROUP_CONFIGS", 16)
    return SuffixEvaluator(network(), "lin2", images())


def assert_edited(model, scales, shifts, logits, inputs):
    """Each configuration's logits are those of lin2 edited in the plainest way; the first is checked in full."""
    with torch.inference_mode():
        outputs = inputs_of(model, "lin2", inputs) @ model.lin2.weight.T
        for scale, shift, own in zip(scales, shifts, logits, strict=True):
            expected = model.lin3(torch.relu(scale * outputs + shift))
            torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-5)
    expected = edited_forward(model, "lin2", scales[0], shifts[0], inputs)
    torch.testing.assert_close(logits[0], expected, atol=1e-4, rtol=1e-5)


def of_operations(scales, bias):
    """Three operations on the same scales: rows, rows and bias, and a shift of each unit's own where it is scaled."""
    own = torch.linspace(-1, 1, len(bias))
    return {
        "rows": bias.expand(scales.shape),
        "rows_bias": scales * bias,
        "mean": torch.where(scales == scales.min(), own, bias),
    }


@pytest.mark.parametrize("values", [[2.5, 0.4], [1.0, 0.0], [-1.0, 0.5, 3.0], [0.25, 0.5, 2.0, 4.0]])
def test_permuted_scales_equal_the_edited_network(lin2, values):
    scales = torch.cat([permuted(values, 40, lin2.units), torch.ones(1, lin2.units), permuted([7.0, 9.0], 2, 205)])
    scales = scales[torch.randperm(43, generator=torch.Generator().manual_seed(1))]
    one = int((scales == 1).all(1).nonzero())
    (group,) = planning.groups(scales, None, lin2._bias, homogeneous=True)
    assert len(group.configs) == 40
    logits = lin2.logits(scales)
    assert_edited(network(), scales, lin2._bias.expand(scales.shape), logits, images())
    assert torch.equal(logits[one], lin2.unedited())


def test_permuted_scales_of_several_operations_at_once(lin2):
    scales = permuted([2.5, 0.4], 40, lin2.units)
    shifts = of_operations(scales, lin2._bias)
    everything = scales.repeat(3, 1), torch.cat(list(shifts.values()))
    assert sorted(len(group.configs) for group in planning.groups(*everything, lin2._bias, homogeneous=True)) == [
        40,
        40,
        40,
    ]
    logits = lin2.logits(*everything)
    assert not torch.allclose(logits[:40], logits[40:80], atol=1e-3)
    assert_edited(network(), *everything, logits, images())


def test_any_scales_of_rows_and_bias_are_one_product(lin2):
    scales = torch.rand(30, lin2.units, generator=torch.Generator().manual_seed(0)) * 3
    shifts = scales * lin2._bias
    (group,) = planning.groups(scales, shifts, lin2._bias, homogeneous=True)
    assert group.values is None
    assert_edited(network(), scales, shifts, lin2.logits(scales, shifts), images())


def test_shifts_without_a_pattern_are_not_grouped(lin2):
    scales = permuted([2.5, 0.4], 40, lin2.units)
    shifts = torch.rand(scales.shape, generator=torch.Generator().manual_seed(0))
    assert planning.groups(scales, shifts, lin2._bias, homogeneous=True) == []


def test_what_changes_in_few_units_is_not_grouped(lin2):
    left_out = 1 - torch.eye(lin2.units)
    assert planning.groups(left_out, None, lin2._bias, homogeneous=True) == []
    assert planning.groups(torch.rand(30, lin2.units), None, lin2._bias, homogeneous=True) == []


def test_distinct_values():
    scales = torch.tensor([[2.0, 0.5] * 4, [1.0] * 8, list(range(8)), [3.0, -0.0, 0.0, 1.0, 2.0, 5.0, 4.0, 4.0]])
    found = list(planning.distinct_values(scales))
    assert found == [(0.5, 2.0), (1.0,), None, (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)]


def test_products_stay_exact_at_the_published_width():
    generator = torch.Generator().manual_seed(0)
    model = new_network(1.0, 0.2, seed=0).eval()
    with torch.no_grad():
        # Logits as far apart as those of the trained network: rounding shows.
        model.lin2.bias.normal_(0, 0.5, generator=generator)
        model.lin3.weight.normal_(0, 0.1, generator=generator)
    evaluator = SuffixEvaluator(model, "lin2", torch.rand(8, 1, 40, 40, generator=generator))
    scales = permuted([3.5, 1 / 3.5], 24, 4096)
    assert len(planning.groups(scales, None, evaluator._bias, homogeneous=True)) == 1
    logits = evaluator.logits(scales)
    assert logits.std() > 1
    for scale, own in zip(scales, logits, strict=True):
        alone = evaluator.logits(scale)
        torch.testing.assert_close(own, alone, atol=1e-4, rtol=0)
