import pytest
import torch
from networks_at_hand import Branching, network

from emobench.errors import UserError
from emobench.networks.layers import unit_layers
from emobench.networks.recorder import Recorder, seen_by_hooks
from emobench.networks.recording import recorded
from emobench.networks.sources import build_network


def outputs_of(model, name, inputs):
    """What a module puts out, by a hook."""
    found = []
    handle = model.get_submodule(name).register_forward_hook(lambda module, args, output: found.append(output))
    with torch.no_grad():
        model(inputs)
    handle.remove()
    return found


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_the_same_bits_as_hooks(pool):
    model, inputs = network("vggnet")
    layers = ["conv1a", "conv4b", "lin2"]
    with torch.no_grad():
        logits = model(inputs)
    over = {"avg": lambda value: value.mean((2, 3)), "max": lambda value: value.amax((2, 3))}[pool]
    seen = {layer: outputs_of(model, layer, inputs)[0] for layer in layers}
    expected = {layer: over(value) if value.ndim == 4 else value for layer, value in seen.items()}
    with recorded(model, layers, pool) as recording:
        assert torch.equal(model(inputs), logits)
        model(inputs[:2])
    for layer in layers:
        assert torch.equal(recording[layer][:5], expected[layer])
        assert len(recording[layer]) == 7
    assert "forward" not in model.__dict__


def test_tokens_without_the_cls_token():
    model, inputs = network("torchvision vit")
    block = "encoder.layers.encoder_layer_1"
    mlp = outputs_of(model, f"{block}.mlp.0", inputs)[0]
    attention = outputs_of(model, f"{block}.self_attention", inputs)[0][0]
    layers = [f"{block}.mlp.0", f"{block}.self_attention.out_proj", f"{block}.self_attention.in_proj"]
    with recorded(model, layers) as recording:
        model(inputs)
    torch.testing.assert_close(recording[layers[0]], mlp[:, 1:].mean(1))
    # Inside a function, with the tokens before the images: no hook sees it.
    torch.testing.assert_close(recording[layers[1]], attention[:, 1:].mean(1))
    assert recording[layers[2]].shape == (5, 96)
    _, units = Recorder(model, layers, inputs, tokens="cls")(inputs)
    torch.testing.assert_close(units[layers[0]], mlp[:, 0])
    torch.testing.assert_close(units[layers[1]], attention[:, 0])


def test_a_layer_that_is_used_twice_is_pooled_over_its_uses():
    model, inputs = network("toy")
    first, second = outputs_of(model, "twice", inputs)
    _, units = Recorder(model, ["twice"], inputs)(inputs)
    torch.testing.assert_close(units["twice"], (first + second).mean((2, 3)) / 2)
    _, units = Recorder(model, ["twice"], inputs, "max")(inputs)
    torch.testing.assert_close(units["twice"], torch.maximum(first, second).amax((2, 3)))


def test_a_network_without_a_graph_is_recorded_by_hooks():
    model, inputs = Branching().eval(), torch.rand(4, 3, 12, 12)
    _, units = Recorder(model, ["first", "second"], inputs)(inputs)
    torch.testing.assert_close(units["first"], outputs_of(model, "first", inputs)[0].mean((2, 3)))
    assert units["second"].shape == (4, 6)


def test_what_there_is_not_is_refused():
    model, inputs = network("toy")
    with pytest.raises(UserError, match="unknown layer 'nix'"), recorded(model, ["nix"]):
        model(inputs)
    assert "forward" not in model.__dict__
    with pytest.raises(UserError, match="unknown pool 'median'; known: avg, max"):
        Recorder(model, ["mix"], inputs, "median")
    with pytest.raises(UserError, match="layer mix has no cls token"):
        Recorder(model, ["mix"], inputs, tokens="cls")


def test_a_card_that_vouches_for_hooks_spares_the_graph(monkeypatch):
    found = build_network("vggnet", {"width": 0.125}, classes=list("abcdefg"), seed=3)
    inputs = torch.rand(3, 1, 40, 40)
    names = [layer.name for layer in found.layers]
    assert found.card.hooked
    logits, units = Recorder(found.model, names, inputs)(inputs)
    monkeypatch.setattr("emobench.networks.recorder.capture", lambda *args: pytest.fail("the graph was looked at"))
    monkeypatch.setattr("emobench.networks.layers.capture", lambda *args: pytest.fail("the graph was looked at"))
    recorder = Recorder(found, names, inputs)
    again, spared = recorder(inputs)
    assert recorder.hooked
    assert torch.equal(again, logits)
    assert all(torch.equal(spared[name], units[name]) for name in names)
    with pytest.raises(UserError, match="unknown layer 'conv9'; known: conv1a"):
        Recorder(found, ["conv9"], inputs)


@pytest.mark.parametrize(("name", "hooked"), [("toy", True), ("torchvision vit", False), ("branching", True)])
def test_whether_hooks_see_all(name, hooked):
    model, inputs = network(name) if name != "branching" else (Branching().eval(), torch.rand(5, 3, 20, 20))
    assert seen_by_hooks(model, [layer.name for layer in unit_layers(model, inputs)], inputs) is hooked


def test_units_are_seen_before_the_network_changes_them_in_place():
    """As torchvision's AlexNet and VGG do: the next operation writes into what a layer put out."""
    torch.manual_seed(0)
    after = [torch.nn.Flatten(), torch.nn.Linear(4 * 36, 8), torch.nn.ReLU(inplace=True), torch.nn.Linear(8, 3)]
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(inplace=True), *after).eval()
    inputs = torch.rand(5, 1, 8, 8)
    recorder = Recorder(model, ["0", "3"], inputs)
    assert recorder.hooked
    with torch.no_grad():
        convolved = model[0](inputs)
        linear = model[3](model[1:3](convolved.clone()))
        expected = {"0": convolved.mean((2, 3)), "3": linear}
        assert all((units < 0).any() for units in expected.values())
    logits, units = recorder(inputs)
    for layer, values in expected.items():
        torch.testing.assert_close(units[layer], values, rtol=0, atol=0)
    everything = recorder.values(inputs)
    torch.testing.assert_close(everything["0"], convolved.movedim(1, -1).flatten(0, -2), rtol=0, atol=0)
    torch.testing.assert_close(everything["3"], linear, rtol=0, atol=0)
    torch.testing.assert_close(logits, model(inputs), rtol=0, atol=0)
