import math
import re

import numpy as np
import pytest
import torch
from small_network import as_network, new_network
from torch.func import functional_call
from torch.nn import functional as F

from emobench.errors import UserError
from emobench.functional.calibration import fit_temperature
from emobench.functional.edits import edited_state
from emobench.networks.ranges import Range, with_ranges
from emobench.networks.vggnet import LAYERS
from emobench.sweeps.scaled import ScaledNetwork, search_scales

IMAGES = 96
DESCENT = {"penalty": 0.1, "steps": 8, "batch_size": 32, "learning_rate": 0.05, "seed": 3}


def narrow_network():
    """An untrained narrow network whose answers differ from image to image."""
    model = new_network(0.0625, 0.2, 0).eval()
    with torch.no_grad():
        for layer in LAYERS:
            model.get_submodule(layer).weight *= 3
        logits = model(pictures())
        model.lin3.bias -= logits.mean(0)
        model.lin3.weight *= 4 / logits.std()
        model.lin3.bias *= 4 / logits.std()
    return model


def pictures():
    return torch.rand(IMAGES, 1, 40, 40, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model():
    return narrow_network()


@pytest.fixture(scope="module")
def labels(model):
    """Drawn from the network's own answers: not all of them can be right, so that no temperature is best at 0."""
    with torch.no_grad():
        chances = model(pictures()).softmax(-1)
    return torch.multinomial(chances, 1, generator=torch.Generator().manual_seed(4)).squeeze(1)


def random_scales(model, layers):
    generator = torch.Generator().manual_seed(2)
    sizes = {layer: len(model.get_submodule(layer).bias) for layer in layers}
    return {layer: 0.5 + torch.rand(size, generator=generator) for layer, size in sizes.items()}


@pytest.mark.parametrize("layers", [("lin2",), ("lin1",), ("conv4b",), ("lin2", "conv3a"), ("conv1a", "lin1", "lin2")])
@pytest.mark.parametrize("memory_gib", [1.0, 0.0001])
def test_logits_are_those_of_the_edited_network(model, layers, memory_gib):
    network, scales = ScaledNetwork(model, layers, pictures()[:9], memory_gib=memory_gib), random_scales(model, layers)
    assert network.layers == sorted(layers, key=LAYERS.index)
    state = model.state_dict()
    for layer, scale in scales.items():
        state = edited_state(state, f"{layer}.weight", scale)
    edited = narrow_network()
    edited.load_state_dict(state)
    with torch.no_grad():
        expected = edited(pictures()[:9])
    torch.testing.assert_close(network.all_logits(scales), expected, atol=1e-4, rtol=1e-4)
    rows = np.array([7, 0, 3])
    torch.testing.assert_close(network.all_logits(scales, rows), expected[rows], atol=1e-4, rtol=1e-4)


def test_gradient_is_that_of_the_edited_weights(model, labels):
    scales = {layer: scale.requires_grad_() for layer, scale in random_scales(model, ["conv4b", "lin2"]).items()}
    network, rows = ScaledNetwork(model, list(scales), pictures(), memory_gib=1.0), torch.arange(20)
    loss = F.cross_entropy(network.logits(scales, rows), labels[:20])
    found = torch.autograd.grad(loss, list(scales.values()))
    state = {name: value.detach() for name, value in model.state_dict().items()}
    state["conv4b.weight"] = state["conv4b.weight"] * scales["conv4b"][:, None, None, None]
    state["lin2.weight"] = state["lin2.weight"] * scales["lin2"][:, None]
    loss = F.cross_entropy(functional_call(model, state, (pictures()[:20],)), labels[:20])
    for one, other in zip(found, torch.autograd.grad(loss, list(scales.values())), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("memory_gib", [1.0, 0.0001])
def test_scales_beyond_a_threshold_are_those_of_the_wrapped_network(model, memory_gib):
    scales = random_scales(model, ["conv4b", "lin2"])
    ranges = {layer: Range(torch.zeros(len(scale)) + 0.05, layer == "lin2") for layer, scale in scales.items()}
    network = ScaledNetwork(model, list(scales), pictures()[:9], memory_gib=memory_gib, ranges=ranges)
    with torch.no_grad():
        expected = with_ranges(as_network(model), scales, ranges).model(pictures()[:9])
        assert (expected - model(pictures()[:9])).abs().max() > 1e-3
    torch.testing.assert_close(network.all_logits(scales), expected, atol=1e-4, rtol=1e-4)


def test_scales_are_fitted_on_augmented_images_and_scored_on_the_images_as_they_are(model, labels):
    """The augmentation here adds a number of its own to each batch, so that what is asked of it can be seen."""
    asked = []

    def augmented(rows, generator):
        asked.append(torch.rand(1, generator=generator).item())
        return pictures()[rows] + asked[-1]

    plain, network = (
        ScaledNetwork(model, ["lin2"], pictures(), memory_gib=1.0, augmented=one) for one in (None, augmented)
    )
    rows, scales = torch.arange(5), {"lin2": torch.full((256,), 1.2)}
    assert torch.equal(network.all_logits(scales), plain.all_logits(scales))
    assert torch.equal(network.logits(scales, rows), plain.logits(scales, rows))
    found = network.fitted_logits(scales, rows, torch.Generator().manual_seed(1))
    shifted = ScaledNetwork(model, ["lin2"], pictures()[:5] + asked[0], memory_gib=1.0).all_logits(scales)
    torch.testing.assert_close(found, shifted, atol=1e-4, rtol=1e-4)
    groups = {"lin2": torch.arange(256)}
    fits = [search_scales(network, labels, np.arange(IMAGES), groups, **DESCENT)["lin2"] for _ in range(2)]
    assert torch.equal(*fits)
    assert len(set(asked)) == 1 + DESCENT["steps"]
    assert not torch.equal(fits[0], search_scales(plain, labels, np.arange(IMAGES), groups, **DESCENT)["lin2"])


def test_damaged_rows_are_found_and_restored(model, labels):
    """Rows divided by known factors: the search on the undamaged network's answers finds the factors."""
    true = torch.ones(256)
    true[:64], true[64:128] = 2.0, 0.4
    damaged = narrow_network()
    damaged.load_state_dict(edited_state(model.state_dict(), "lin2.weight", 1 / true))
    groups = torch.full((256,), 2)
    groups[:64], groups[64:128] = 0, 1
    # Each image stands there 20 times, with labels drawn from the undamaged network's answers.
    with torch.no_grad():
        chances = model(pictures()).softmax(-1)
    generator = torch.Generator().manual_seed(0)
    targets = torch.multinomial(chances, 20, replacement=True, generator=generator).flatten()
    inputs = pictures().repeat_interleave(20, 0)
    network = ScaledNetwork(damaged, ["lin2"], inputs, memory_gib=1.0)
    everything = np.arange(len(inputs))
    options = {"steps": 80, "batch_size": len(inputs), "learning_rate": 0.06, "seed": 0}
    found = search_scales(network, targets, everything, {"lin2": groups}, penalty=0.0, **options)["lin2"]
    assert found[0].item() == pytest.approx(2.0, rel=0.1)
    assert found[64].item() == pytest.approx(0.4, rel=0.1)
    assert found[200].item() == pytest.approx(1.0, rel=0.1)

    def nll(scale):
        logits = network.all_logits({"lin2": scale})
        return F.cross_entropy(logits / fit_temperature(logits, targets), targets).item()

    assert nll(found) - 0.003 < nll(true) < nll(torch.ones(256)) - 0.05


def descend(model, labels, groups=None, rows=None, memory_gib=1.0, **changes):
    layers = list(groups or {"lin2": None})
    network = ScaledNetwork(model, layers, pictures(), memory_gib=memory_gib)
    rows = np.arange(IMAGES) if rows is None else rows
    return search_scales(network, labels, rows, groups or {"lin2": torch.arange(256)}, **(DESCENT | changes))


def test_a_strong_pull_leaves_the_network_as_it_is(model, labels):
    weak, strong = (descend(model, labels, penalty=penalty, steps=50)["lin2"].log() for penalty in (0.01, 1e3))
    assert strong.abs().max() < 0.02 < weak.abs().max()
    assert weak.square().mean() > 100 * strong.square().mean()


def test_tied_units_have_the_same_scale_to_the_bit(model, labels):
    groups = {"lin1": torch.arange(256) % 3, "lin2": torch.arange(256) % 5}
    scales = descend(model, labels, groups)
    assert list(scales) == ["lin1", "lin2"]
    everything, numbers = torch.cat(list(scales.values())), torch.cat(list(groups.values()))
    assert [len(set(everything[numbers == number].tolist())) for number in range(5)] == [1] * 5
    assert len(set(everything.tolist())) == 5


def test_the_same_seed_gives_the_same_bytes_whatever_the_global_state_is(model, labels):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = descend(model, labels)["lin2"].numpy().tobytes()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert descend(model, labels)["lin2"].numpy().tobytes() == first
    assert descend(model, labels, seed=4)["lin2"].numpy().tobytes() != first


def test_images_that_are_not_among_the_rows_have_no_influence(model, labels):
    rows, others = np.arange(0, IMAGES, 2), np.arange(1, IMAGES, 2)
    changed = labels.clone()
    changed[others] = (labels[others] + 1) % 7
    assert torch.equal(descend(model, labels, rows=rows)["lin2"], descend(model, changed, rows=rows)["lin2"])
    assert not torch.equal(descend(model, labels)["lin2"], descend(model, changed)["lin2"])


def test_little_memory_splits_batches_without_changing_the_result(model, labels):
    small = ScaledNetwork(model, ["lin2"], pictures(), memory_gib=0.0003)
    assert small.images_at_once < DESCENT["batch_size"]
    found = descend(model, labels, memory_gib=0.0003)["lin2"]
    torch.testing.assert_close(found, descend(model, labels)["lin2"], atol=1e-4, rtol=1e-4)


def test_the_network_is_left_alone(model, labels):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    descend(model, labels)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("layers", "kind", "message"),
    [
        (["lin9"], UserError, "unknown layer 'lin9'; known: conv1a"),
        ([], ValueError, "layers to edit are []; expected at least one, each once"),
        (["lin1", "lin1"], ValueError, "layers to edit are ['lin1', 'lin1']"),
    ],
)
def test_layers_that_cannot_be_scaled_are_refused(model, layers, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        ScaledNetwork(model, layers, pictures()[:1], memory_gib=1.0)


def test_a_network_in_training_mode_is_refused():
    with pytest.raises(ValueError, match="training mode"):
        ScaledNetwork(new_network(0.0625, 0.2, 0).train(), ["lin2"], pictures()[:1], memory_gib=1.0)


def test_a_search_that_diverges_says_so(model, labels):
    with pytest.raises(UserError, match=r"diverged; lower edit\.search\.learning_rate"):
        descend(model, labels, learning_rate=math.inf, penalty=0.0)
