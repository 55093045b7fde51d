import edit_bench
import numpy as np
import pytest
import torch
from small_network import inputs_of, new_network

from emobench.edits import experiment as editing
from emobench.edits.experiment import mean_outputs
from emobench.faces.imageset import load_imageset
from emobench.functional.edits import edited_state, lone_scale, output_shift, selection_scale
from emobench.networks.sources import load_network
from emobench.networks.vggnet import VGGNet


@pytest.fixture(scope="module")
def network():
    network = new_network(0.0625, 0.2, seed=0).eval()
    for layer in ("conv4b", "lin1", "lin2"):
        network.get_submodule(layer).bias.data.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(1))
    return network


@pytest.fixture(scope="module")
def inputs():
    return torch.rand(6, 1, 40, 40, generator=torch.Generator().manual_seed(2))


def logits(state, inputs):
    model = VGGNet(0.0625)
    model.load_state_dict(state)
    with torch.inference_mode():
        return model.eval()(inputs)


def selection(network, layer):
    return torch.rand(len(network.get_submodule(layer).bias), generator=torch.Generator().manual_seed(3)) < 0.5


def edited(state, layer, operation, scale):
    return edited_state(
        state, f"{layer}.weight", scale, output_shift(operation, scale, state[f"{layer}.bias"]), bias=f"{layer}.bias"
    )


@pytest.mark.parametrize("operation", ["rows", "rows_bias"])
@pytest.mark.parametrize("layer", ["conv4b", "lin1", "lin2"])
def test_factor_one_changes_nothing_and_the_inverse_restores(network, inputs, layer, operation):
    state, selected = network.state_dict(), selection(network, layer)
    before = {name: value.clone() for name, value in state.items()}
    for scale in (selection_scale(selected, 1.0), lone_scale(selected, 1.0)):
        same = edited(state, layer, operation, scale)
        assert all(torch.equal(same[name], value) for name, value in state.items())
    for scale in (selection_scale(selected, 3.5), lone_scale(selected, 0.4)):
        there = edited(state, layer, operation, scale)
        back = edited(there, layer, operation, 1 / scale)
        assert not torch.equal(logits(there, inputs), logits(state, inputs))
        torch.testing.assert_close(logits(back, inputs), logits(state, inputs), atol=1e-5, rtol=1e-4)
    assert all(torch.equal(state[name], value) for name, value in before.items())


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 3.5])
@pytest.mark.parametrize(("layer", "following"), [("lin1", "lin2"), ("lin2", "lin3")])
def test_rows_and_bias_by_f_are_the_next_layers_columns_by_f(network, inputs, layer, following, factor):
    state, scale = network.state_dict(), lone_scale(selection(network, layer), factor)
    rows = edited(state, layer, "rows_bias", scale)
    columns = {name: value.clone() for name, value in state.items()}
    columns[f"{following}.weight"] *= scale
    torch.testing.assert_close(logits(rows, inputs), logits(columns, inputs), atol=1e-5, rtol=1e-5)
    assert torch.equal(logits(rows, inputs), logits(state, inputs)) == (factor == 1)


@pytest.mark.parametrize("layer", ["conv2b", "lin1"])
def test_mean_outputs_are_those_of_kept_train_images(tmp_path, monkeypatch, layer):
    layout = edit_bench.write_benchmark(tmp_path, train=7, val=2, test=2, removed=1)
    imageset, network = load_imageset(layout.data), load_network(layout.models / "network")
    monkeypatch.setattr(editing, "MEAN_BATCH", 4)
    total = 0
    with torch.inference_mode():
        for row in range(1, 7):  # the first one was removed
            inputs = inputs_of(network.model, layer, network.inputs(imageset.images[row : row + 1]))
            outputs = network.model.get_submodule(layer)(inputs)[0]
            total = total + (outputs.mean((1, 2)) if outputs.ndim == 3 else outputs)
    np.testing.assert_allclose(mean_outputs(network, layer, imageset), total / 6, rtol=1e-4, atol=1e-5)
