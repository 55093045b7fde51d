import pytest
import torch

from emobench.errors import UserError
from emobench.networks import sweep
from emobench.networks.suffix import SuffixEvaluator, output_bytes
from emobench.networks.sweep import sweep_logits, sweep_outcomes
from emobench.networks.training import new_network


@pytest.fixture(scope="module")
def network():
    return new_network(0.0625, 0.2, seed=0).eval()


@pytest.mark.parametrize("layer", ["conv2b", "lin2"])
def test_splitting_by_memory_changes_nothing(network, layer, monkeypatch):
    inputs = torch.rand(7, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    units = len(network.get_submodule(layer).weight)
    scales = torch.rand(5, units, generator=torch.Generator().manual_seed(1)) * 2
    expected = SuffixEvaluator(network, layer, inputs).logits(scales)
    built = []

    class Counting(SuffixEvaluator):
        def __init__(self, model, name, part):
            built.append(len(part))
            super().__init__(model, name, part)

    monkeypatch.setattr(sweep, "SuffixEvaluator", Counting)
    monkeypatch.setattr(sweep, "CONFIGS_AT_ONCE", 2)
    room = 5 * 7 * 7 * 4 + 3 * sweep.WORKING_COPIES * output_bytes(network, layer)
    split = sweep_logits(network, layer, inputs, scales, memory_gib=room / 2**30)
    assert built == [3, 3, 1]
    torch.testing.assert_close(split, expected, atol=1e-5, rtol=1e-5)


def test_memory_that_does_not_hold_the_result(network):
    scales = torch.ones(10, len(network.lin2.weight))
    with pytest.raises(UserError, match="edit.memory_gib is 1e-07; the results of 10 configurations on 2 images alone"):
        sweep_logits(network, "lin2", torch.rand(2, 1, 40, 40), scales, memory_gib=1e-7)


def test_outcomes_are_those_of_the_logits(network):
    generator = torch.Generator().manual_seed(3)
    inputs, labels = torch.rand(9, 1, 40, 40, generator=generator), torch.randint(7, (9,), generator=generator)
    scales = torch.rand(5, 256, generator=generator) * 2
    shifts, counted = torch.rand(5, 256, generator=generator), torch.arange(9) % 2 == 0
    logits = sweep_logits(network, "lin2", inputs, scales, shifts, memory_gib=1)
    outcomes = sweep_outcomes(network, "lin2", inputs, labels, scales, shifts, memory_gib=1, nll_on=counted)
    assert outcomes.predictions.dtype == "uint8"
    assert outcomes.predictions.tolist() == logits.argmax(-1).tolist()
    expected = [
        -sum(float(one[image].double().log_softmax(-1)[labels[image]]) for image in range(0, 9, 2)) / 5
        for one in logits
    ]
    assert outcomes.nll == pytest.approx(expected, rel=1e-9)
    assert outcomes.nll != pytest.approx(
        sweep_outcomes(network, "lin2", inputs, labels, scales, shifts, memory_gib=1).nll, rel=1e-9
    )
