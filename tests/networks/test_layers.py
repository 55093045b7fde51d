from dataclasses import asdict

import pytest
import torch
from networks_at_hand import network

from emobench.networks.layers import unit_layers


def test_kinds_units_and_axes_of_a_toy():
    model, inputs = network("toy")
    rows = [
        (layer.name, layer.kind, layer.units, layer.axis, layer.grid, layer.tokens, layer.bias, layer.calls, layer.way)
        for layer in unit_layers(model, inputs)
    ]
    assert rows == [
        ("twice", "conv2d", 3, 1, (20, 20), 0, "twice.bias", 2, "cut"),
        ("wide", "conv2d", 8, 1, (8, 8), 0, None, 1, "cut"),
        ("grouped", "grouped", 16, 1, (6, 6), 0, "grouped.bias", 1, "cut"),
        ("mix", "linear", 12, -1, (), 36, None, 1, "cut"),
        ("head", "linear", 5, -1, (), 0, "head.bias", 1, "cut"),
    ]


def test_multiplications_are_counted_for_all_calls():
    model, inputs = network("toy")
    products = {layer.name: layer.products for layer in unit_layers(model, inputs)}
    assert products == {
        "twice": 2 * 20 * 20 * 3 * 27, "wide": 8 * 8 * 8 * 27, "grouped": 6 * 6 * 16 * 2 * 9, "mix": 36 * 16 * 12,
        "head": 12 * 5,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["vggnet", "vggnet reordered"])
def test_vggnets_quick_layers_are_found_from_its_graph(name):
    model, inputs = network(name)
    ways = {layer.name: layer.way for layer in unit_layers(model, inputs)}
    assert [name for name, way in ways.items() if way == "quick"] == ["conv4b", "lin1", "lin2"]


@pytest.mark.parametrize("name", ["mean of maps", "mean of maps reordered"])
def test_layers_that_are_affine_up_to_the_logits_are_quick(name):
    model, inputs = network(name)
    ways = {layer.name: layer.way for layer in unit_layers(model, inputs)}
    assert ways == {"first": "quick", "beside": "quick", "last": "cut"}


@pytest.mark.parametrize("name", ["torchvision vit", "timm vit"])
def test_tokens_of_transformers(name):
    model, inputs = network(name)
    layers = unit_layers(model, inputs)
    side = layers[0].grid[0]
    assert layers[0].grid == (side, side)
    for layer in layers[1:-1]:
        assert (layer.tokens, layer.prefix, layer.axis) == (side**2 + 1, 1, -1), layer
    assert (layers[-1].tokens, layers[-1].prefix) == (0, 0)
    assert any(layer.units == 3 * layers[0].units for layer in layers)


def test_a_tied_weight_is_no_layer():
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = torch.nn.Linear(4, 4), torch.nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.inner(x) @ self.inner.weight)

    assert [layer.name for layer in unit_layers(Tied().eval(), torch.rand(2, 4))] == ["head"]


def test_cards_are_plain_values():
    model, inputs = network("toy")
    assert all(isinstance(value, str | int | tuple | None) for value in asdict(unit_layers(model, inputs)[0]).values())
