"""Kinds of small benchmarks: the seed's network and faces, and others of everything."""

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np

from emobench.networks.network import Network
from emobench.networks.sources import build_network
from emobench.settings.data import Faces
from emobench.vocabulary.class_names import BASIC

LAYERS = (*(f"conv{block}{half}" for block in (1, 2, 3, 4) for half in "ab"), "lin1", "lin2", "lin3")
OWN = f"{Path(__file__).parent / 'own_network.py'}:build"


@dataclasses.dataclass(frozen=True)
class Kind:
    """Classes, stored pictures, a network and its layers; ``edited``: the layer that edits change."""

    classes: tuple[str, ...]
    size: int
    channels: int
    architecture: str
    options: tuple[tuple[str, object], ...]
    layers: tuple[str, ...]
    edited: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a stored picture."""
        return (self.size, self.size) if self.channels == 1 else (self.size, self.size, self.channels)

    def pictures(self, count: int, seed: int = 0) -> np.ndarray:
        """Noise."""
        return np.random.default_rng(seed).integers(0, 256, (count, *self.shape)).astype(np.uint8)


VGG = Kind(BASIC, 48, 1, "vggnet", (("width", 0.02), ("dropout", 0.2)), LAYERS, "lin2")
FIVE = Kind(
    ("angry", "happy", "sad", "surprise", "bored"),
    40,
    3,
    OWN,
    (("width", 4),),
    ("look", "again", "think", "say"),
    "think",
)
"""Five classes, one of them nobody else's, in colours, by a user's own network."""


@cache
def network_of(kind: Kind) -> Network:
    """The network with random weights; made once, since it takes seconds."""
    return build_network(kind.architecture, dict(kind.options), classes=kind.classes, wanted=kind.classes)


def with_kind(params, kind: Kind):
    """Params whose network, and unless it is the seed's whose data, are of the kind."""
    network = dataclasses.replace(params.network, architecture=kind.architecture, options=dict(kind.options))
    if kind.architecture == "vggnet":
        return dataclasses.replace(params, network=network)
    known = {"input": "data/raw/mine", "limit": 0, "audit": params.data.audit, "classes": list(kind.classes)}
    data = Faces(source="folder", size=kind.size, channels=kind.channels, **known)
    network = dataclasses.replace(network, file=kind.architecture.rpartition(":")[0] or "data/raw/none")
    return dataclasses.replace(params, network=network, data=data)
