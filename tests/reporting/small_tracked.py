"""A small benchmark that can be tracked: result files and the weights of tiny networks."""

import dataclasses
from pathlib import Path

import torch
from reporting.small_results import small_params, write_results

from emobench.layout import Layout
from emobench.networks.loading import save_network
from emobench.networks.vggnet import VGGNet
from emobench.params import Params


def write_tracked(root: Path, source: str = "fer2013", *, pictures: bool = False) -> tuple[Params, Layout]:
    """14 runs and controls: benchmark, baseline, 3 layers x 2 concept sets, 2 edits by similarity, 2 x 2 by others.

    Unless a test says otherwise the store is mlflow.db below ``root``.
    """
    (root / ".dvc").mkdir(exist_ok=True)
    params = small_params(source, factors=[1.0, 1.5], taus=[0.0])
    params = dataclasses.replace(params, track=dataclasses.replace(params.track, pictures=pictures))
    layout = write_results(root, params, layers=("conv1a", "lin2", "lin3"))
    write_weights(layout)
    return params, layout


def write_weights(layout: Layout, seed: int = 0) -> None:
    """Writes two networks of few units as baseline and as edited one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name in ("baseline", "edited"):
            save_network(VGGNet(0.02), layout.models / f"{name}.safetensors")
