"""Units scaled beyond a threshold: by the cut network, by the wrapped one and by plain hooks, which are the oracle."""

import copy

import joblib
import pytest
import torch
from networks_at_hand import Branching, network, off
from small_network import small_vggnet

from emobench.errors import UserError
from emobench.networks.cut import cut
from emobench.networks.layers import unit_layers
from emobench.networks.ranges import Range, Ranged, with_ranges
from emobench.networks.sources import save_network, with_weights
from emobench.networks.whole import unit_modules


def hooked(model, inputs, factors, ranges):
    """A copy of the network whose layers' outputs are changed element by element."""
    model = copy.deepcopy(model)

    def hook(name):
        def change(module, args, output):
            axis = -1 if isinstance(module, torch.nn.Linear) else 1
            parts = []
            for unit, z in enumerate(output.unbind(axis)):
                t, f = ranges[name].threshold[unit], factors[name][unit]
                parts.append(torch.where((z > t) if ranges[name].above else (z < t), t + f * (z - t), z))
            return torch.stack(parts, axis)

        return change

    for name in factors:
        model.get_submodule(name).register_forward_hook(hook(name))
    with torch.no_grad():
        return model(inputs)


def asked(model, names, above):
    """Factors, and thresholds within what the layers put out."""
    generator, modules = torch.Generator().manual_seed(0), unit_modules(model)
    sizes = {name: len(modules[name].weight) for name in names}
    factors = {name: 3 * torch.rand(size, generator=generator) - 0.5 for name, size in sizes.items()}
    thresholds = {name: 0.2 * torch.randn(size, generator=generator) for name, size in sizes.items()}
    return factors, {name: Range(one, above) for name, one in thresholds.items()}


@pytest.mark.parametrize(("name", "above"), [("toy", True), ("toy", False), ("deep_emotion", False)])
def test_logits_are_those_of_a_hooked_copy(name, above):
    model, inputs = network(name)
    known = [layer.name for layer in unit_layers(model, inputs)]
    some = [layer for layer in known if layer in unit_modules(model)]
    layers = [some[-2], some[0]]
    factors, ranges = asked(model, layers, above)
    expected = hooked(model, inputs, factors, ranges)
    with torch.no_grad():
        assert off(expected, model(inputs)) > 1e-3
        at = cut(model, layers, inputs, ranges)
        assert at.way == "cut"
        assert off(at.suffix(at.prefix(inputs), factors), expected) < 1e-5
        assert off(at.suffix(at.prefix(inputs), {}), model(inputs)) < 1e-5


def test_one_layer_beyond_a_threshold_and_one_whole(tmp_path):
    model, inputs = network("toy")
    factors, ranges = asked(model, ["wide", "mix"], True)
    rows = copy.deepcopy(model)
    with torch.no_grad():
        weight = rows.get_submodule("mix").weight
        weight *= factors["mix"].reshape(-1, *[1] * (weight.ndim - 1))
    expected = hooked(rows, inputs, {"wide": factors["wide"]}, ranges)
    at = cut(model, ["wide", "mix"], inputs, {"wide": ranges["wide"]})
    joblib.dump(at, tmp_path / "cut.joblib")
    for one in (at, joblib.load(tmp_path / "cut.joblib")):
        with torch.no_grad():
            assert off(one.suffix(one.prefix(inputs), factors), expected) < 1e-5


def test_a_network_without_a_graph():
    model, inputs = Branching().eval(), torch.rand(2, 3, 12, 12)
    layer = next(iter(unit_modules(model)))
    factors, ranges = asked(model, [layer], False)
    at = cut(model, layer, inputs, ranges)
    assert at.way == "whole"
    with torch.no_grad():
        assert off(at.suffix(at.prefix(inputs), factors), hooked(model, inputs, factors, ranges)) < 1e-6


def test_a_gradient_goes_through_the_factor_alone_where_the_unit_is_beyond():
    model, inputs = network("toy")
    factors, _ = asked(model, ["mix"], True)
    far = Range(torch.full_like(factors["mix"], 1e6), True)
    at, factor = cut(model, "mix", inputs, {"mix": far}), factors["mix"].requires_grad_()
    (gradient,) = torch.autograd.grad(at.suffix(at.prefix(inputs), {"mix": factor}).sum(), factor)
    assert not gradient.any()


@pytest.fixture(scope="module")
def plain():
    return small_vggnet()


def test_the_wrapped_network_answers_the_same_and_is_no_set_of_weights(plain, tmp_path):
    inputs = torch.rand(3, 1, 40, 40, generator=torch.Generator().manual_seed(1))
    factors, ranges = asked(plain.model, ["conv2a", "lin2"], True)
    ranges["lin2"] = ranges["lin2"]._replace(above=False)
    edited = with_ranges(plain, factors, ranges)
    with torch.no_grad():
        torch.testing.assert_close(edited.model(inputs), hooked(plain.model, inputs, factors, ranges))
    assert not any(isinstance(module, Ranged) for module in plain.model.modules())
    with pytest.raises(UserError, match="^conv2a, lin2: units scaled beyond a threshold can't be written as weights"):
        save_network(edited, tmp_path / "network")
    with pytest.raises(UserError, match="does not fit"):
        with_weights(plain, edited.model.state_dict())


def test_what_cannot_be_wrapped_is_refused(plain):
    where = Range(torch.zeros(3), True)
    with pytest.raises(UserError, match="unknown layer to wrap 'lin9'; known: conv1a"):
        with_ranges(plain, {"lin9": torch.ones(3)}, {"lin9": where})
    with pytest.raises(ValueError, match=r"factor is \(3,\); expected \(256,\)"):
        with_ranges(plain, {"lin2": torch.ones(3)}, {"lin2": where})
