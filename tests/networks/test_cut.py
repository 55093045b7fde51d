import copy

import joblib
import pytest
import torch
from networks_at_hand import Branching, network, off

from emobench.errors import UserError
from emobench.networks.cut import cut
from emobench.networks.deep_emotion import DeepEmotion
from emobench.networks.graph import ExportError, capture
from emobench.networks.layers import unit_layers
from emobench.networks.sources import build_network


@pytest.mark.parametrize("name", ["toy", "torchvision vit", "deep_emotion"])
def test_several_layers_at_once(name):
    model, inputs = network(name)
    layers = unit_layers(model, inputs)
    some = [layers[-2], layers[0], layers[len(layers) // 2]]
    at = cut(model, [layer.name for layer in some], inputs)
    scales = {layer.name: torch.linspace(-1, 2, layer.units) for layer in some}
    edited = copy.deepcopy(model)
    parameters = dict(edited.named_parameters())
    with torch.no_grad():
        for layer in some:
            rows = parameters[layer.weight]
            rows *= scales[layer.name].reshape(-1, *[1] * (rows.ndim - 1))
        assert off(at.suffix(at.prefix(inputs), scales), edited(inputs)) < 1e-4
        assert off(at.suffix(at.prefix(inputs), {}), model(inputs)) < 1e-5


def test_an_unfitting_question_is_refused():
    model, inputs = network("toy")
    with pytest.raises(UserError, match="unknown layer 'nix'; known: twice, wide, grouped, mix, head"):
        cut(model, "nix", inputs)
    with pytest.raises(ValueError, match="expected at least one, each once"):
        cut(model, ["mix", "mix"], inputs)
    with pytest.raises(ValueError, match="training mode"):
        cut(copy.deepcopy(model).train(), "mix", inputs)


def test_a_network_that_answers_differently_twice_is_refused():
    with pytest.raises(UserError, match="answers differently when asked twice"):
        cut(DeepEmotion(always=True).eval(), "fc1", torch.rand(2, 3, 48, 48))


class Several(torch.nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs
        self.head = torch.nn.Linear(2, 3)

    def forward(self, x):
        return self.outputs(self.head(x))


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (lambda x: {"logits": x, "hidden": x}, "puts out a dict with logits, hidden"),
        (lambda x: (x, x), "puts out a tuple with 0, 1"),
        (lambda x: x[0], r"puts out \(3,\) for 2 images"),
    ],
)
def test_several_outputs_without_a_key_are_refused(outputs, said):
    with pytest.raises(UserError, match=said):
        cut(Several(outputs).eval(), "head", torch.rand(2, 2))


def test_a_failed_export_is_one_line(capsys):
    with pytest.raises(ExportError) as caught:
        capture(Branching().eval(), torch.rand(2, 3, 12, 12))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert capsys.readouterr() == ("", "")


def test_new_weights_are_seen():
    model, inputs = network("toy")
    model = copy.deepcopy(model)
    before = capture(model, inputs)
    assert capture(model, inputs) is before
    with torch.no_grad():
        model.head.weight *= 2
        assert off(before(inputs), model(inputs)) < 1e-5
        model.head.weight = torch.nn.Parameter(model.head.weight * 3)
        assert off(capture(model, inputs)(inputs), model(inputs)) < 1e-5


@pytest.mark.slow
def test_a_network_without_a_graph_can_be_sent_to_other_processes(tmp_path):
    path = tmp_path / "branching.py"
    path.write_text(
        "import torch\n"
        "class Asking(torch.nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.first, self.head = torch.nn.Linear(12, 6), torch.nn.Linear(6, classes)\n"
        "    def forward(self, x):\n"
        "        x = self.first(x.flatten(1))\n"
        "        return self.head(x.relu() if float(x.sum()) < 1e9 else x)\n"
        "def network(classes):\n"
        "    return Asking(classes), {'channels': 3, 'size': (2, 2)}\n"
    )
    network = build_network(f"{path}:network", classes=("yes", "no"))
    assert network.card.whole
    at, inputs, scale = cut(network, "first", torch.rand(2, 3, 2, 2)), torch.rand(4, 3, 2, 2), torch.rand(6)
    (there,) = joblib.Parallel(n_jobs=2)([joblib.delayed(suffix_of)(at, inputs, scale)])
    assert off(there, suffix_of(at, inputs, scale)) < 1e-6


def suffix_of(at, inputs, scale):
    with torch.no_grad():
        return at.suffix(at.prefix(inputs), {"first": scale})
