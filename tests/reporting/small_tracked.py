"""A small benchmark that can be tracked: result files and the weights of tiny networks."""

import dataclasses
from pathlib import Path

import torch
from kinds import VGG, Kind, network_of
from reporting.small_results import small_params, write_results

from emobench.files import write_json
from emobench.layout import Layout
from emobench.networks.card import NetworkCard
from emobench.networks.sources import save_weights, state_digest
from emobench.params import Params


def write_tracked(
    root: Path, source: str = "fer2013", *, pictures: bool = False, kind: Kind = VGG
) -> tuple[Params, Layout]:
    """14 runs and controls: benchmark, baseline, 3 layers x 2 concept sets, 2 edits by similarity, 2 x 2 by others.

    Unless a test says otherwise the store is mlflow.db below ``root``.
    """
    (root / ".dvc").mkdir(exist_ok=True)
    params = small_params(source, kind, factors=[1.0, 1.5], taus=[0.0])
    params = dataclasses.replace(params, track=dataclasses.replace(params.track, pictures=pictures))
    layers = (kind.layers[0], *kind.layers[-2:])
    layout = write_results(root, params, layers=layers, kind=kind)
    write_weights(layout, kind)
    return params, layout


def write_weights(layout: Layout, kind: Kind = VGG, seed: int = 0) -> None:
    """Writes two networks of few units as baseline and as edited one."""
    generator = torch.Generator().manual_seed(seed)
    states = []
    for _ in range(2):
        state = {name: value.clone() for name, value in network_of(kind).model.state_dict().items()}
        for name in (name for name in state if name.endswith("weight") and state[name].ndim > 1):
            state[name] += 0.1 * torch.randn(state[name].shape, generator=generator)
        states.append(state)
    folder = layout.models / "network"
    save_weights(states[0], folder / "weights.safetensors")
    card = dataclasses.replace(NetworkCard.read(folder), weights=state_digest(states[0]))
    write_json(folder / "network.json", card.to_json())
    save_weights(states[1], layout.models / "edited.safetensors")
