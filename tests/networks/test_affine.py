import pytest
import torch
from networks_at_hand import network
from torch import nn

from emobench.networks.affine import affine_matrix, affine_to_logits, reordered
from emobench.networks.graph import capture
from emobench.sweeps.fronts import rest_of


def test_the_matrix_is_what_a_plain_loop_over_single_numbers_gives():
    model, inputs = network("mean of maps")
    program = capture(model, inputs)
    value = next(node for node in program.graph.nodes if str(node.target) == "aten.add.Tensor")
    weights, bias = affine_matrix(rest_of(program, value)[0], value.meta["sizes"])
    tail = nn.Sequential(model.last, model.last_norm, nn.AvgPool2d(2))
    shape = value.meta["sizes"][1:]
    with torch.no_grad():
        nothing = tail(torch.zeros(1, *shape)).mean((2, 3))[0]
        assert torch.allclose(bias, nothing, atol=1e-6)
        for place in [(0, 0, 0), (3, 5, 9), (7, 9, 4)]:
            single = torch.zeros(1, *shape)
            single[0][place] = 1.0
            assert torch.allclose(weights[(slice(None), *place)], tail(single).mean((2, 3))[0] - nothing, atol=1e-6)


class Curved(nn.Module):
    def __init__(self, between):
        super().__init__()
        self.first, self.last, self.between = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 7, 3), between

    def forward(self, x):
        return self.between(self.last(self.first(x)), x).mean((2, 3))


@pytest.mark.parametrize(
    ("between", "affine"),
    [
        (lambda x, images: x, True),
        (lambda x, images: x.relu(), False),
        (lambda x, images: x * images.mean(), False),
        (lambda x, images: nn.functional.max_pool2d(x, 2), False),
        (lambda x, images: x + x.mean(0, keepdim=True), False),
    ],
)
def test_what_is_not_affine_image_by_image_is_told(between, affine):
    program = capture(Curved(between).eval(), torch.rand(4, 3, 12, 12))
    node = next(node for node in program.graph.nodes if node.target is torch.ops.aten.conv2d.default)
    assert (affine_to_logits(node) is not None) is affine


def test_without_weights_there_is_nothing_to_compute_once():
    program = capture(Curved(lambda x, images: x).eval(), torch.rand(4, 3, 12, 12))
    last = [node for node in program.graph.nodes if node.target is torch.ops.aten.conv2d.default][-1]
    assert affine_to_logits(last) is None


class Turned(nn.Module):
    """Answers of a linear layer, put together by ``turn``."""

    def __init__(self, turn):
        super().__init__()
        self.first, self.last, self.turn = nn.Linear(4, 5), nn.Linear(5, 3), turn

    def forward(self, images):
        return self.turn(self.last(self.first(images).relu()))


TURNS = {
    "order": (lambda x: torch.stack([x[:, 2], x[:, 0], x[:, 1]], 1), [2, 0, 1]),
    "twice": (lambda x: torch.stack([x[:, 1], x[:, 0], x[:, 1]], 1), [1, 0, 1]),
    "changed": (lambda x: torch.stack([x[:, 2], x[:, 0] * 2, x[:, 1]], 1), None),
    "two stacks": (lambda x: torch.stack([x[:, 2], x[:, 0]], 1) + torch.stack([x[:, 1], x[:, 1]], 1), None),
    "other axis": (lambda x: torch.stack([x[:, 2], x[:, 0], x[:, 1]], 0).T, None),
    "nothing": (lambda x: x, None),
}


@pytest.mark.parametrize("name", TURNS)
def test_only_another_order_of_the_answers_is_one(name):
    turn, order = TURNS[name]
    program = capture(Turned(turn).eval(), torch.rand(2, 4))
    linear = [node for node in program.graph.nodes if node.target is torch.ops.aten.linear.default][-1]
    found = reordered(linear)
    assert (found and found[1]) == order
