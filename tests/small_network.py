"""Narrow VGGNets with random weights, bare and as a Network with its card."""

from collections.abc import Mapping

import torch

from emobench.networks.network import Network
from emobench.networks.sources import build_network
from emobench.networks.vggnet import VGGNet
from emobench.vocabulary.class_names import BASIC


def new_network(width: float, dropout: float, seed: int) -> VGGNet:
    """A bare model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VGGNet(width, dropout)


def small_vggnet(width: float = 1 / 16, *, seed: int = 0, weights: Mapping[str, torch.Tensor] | None = None) -> Network:
    """With its card, as the stage network writes one; random weights by seed, or given ones."""
    return build_network("vggnet", {"width": width, "dropout": 0.2}, weights, classes=BASIC, seed=seed)


def as_network(model: VGGNet) -> Network:
    """A bare model with its card; the weights are copied."""
    return small_vggnet(len(model.lin1.bias) / 4096, weights=model.state_dict())


def inputs_of(model: VGGNet, layer: str, inputs: torch.Tensor) -> torch.Tensor:
    """What a layer gets when the network is given ``inputs``."""
    seen = []
    handle = model.get_submodule(layer).register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    try:
        model(inputs)
    finally:
        handle.remove()
    return seen[0]
