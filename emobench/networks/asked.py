"""The network that params ask for: built with random or given weights, its layers chosen by name."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from emobench.errors import UserError, unknown_name
from emobench.networks.card import LayerCard, NetworkCard
from emobench.networks.network import Network
from emobench.networks.sources import build_network
from emobench.settings.network import GivenNetwork, Picture
from emobench.settings.network import Network as Asked
from emobench.vocabulary.class_names import canonical_class


def asked_network(
    asked: Asked, classes: Sequence[str], *, seed: int, root: Path = Path(), bare: bool = False,
    changed: Mapping[str, Any] | None = None,
) -> Network:  # fmt: skip
    """Builds it, its answers in the order of the data's classes.

    Args:
        asked: section network of params.yaml.
        classes: the data's, in label order.
        seed: of random weights, which a network has that is trained here.
        root: what ``input`` is relative to.
        bare: random weights instead of those given.
        changed: of what the network takes, where ``picture`` is auto: only these values differ.

    Raises:
        UserError: something doesn't fit together, the network answers differently twice, or no layer is chosen.
    """
    given = asked if isinstance(asked, GivenNetwork) else None
    outputs = [canonical_class(name) for name in given.classes] if given and given.classes else list(classes)
    # A program that torch.export wrote has its weights inside.
    weights = root / given.input if given and not (bare or asked.architecture.endswith(".pt2")) else None
    network = build_network(
        asked.architecture, asked.options, weights, classes=outputs, input=_values(asked.picture) or changed, seed=seed,
        digest=given.sha256 or None if given else None, output=_output(given.output) if given else None, wanted=classes,
    )  # fmt: skip
    if not network.card.agrees:
        raise UserError(
            f"network {asked.architecture} answers differently when asked twice, though it is in evaluation mode: look "
            "for dropout or noise that stays on (functional.dropout without training=self.training, say)"
        )
    chosen = tuple(layer.name for layer in chosen_layers(network.card, asked.layers))
    return Network(network.model, replace(network.card, recorded=chosen))


def chosen_layers(card: NetworkCard, layers: str | Sequence[str]) -> list[LayerCard]:
    """The layers that globs name, in the order of computation; ``auto``: all.

    Raises:
        UserError: a glob that fits no layer.
    """
    if layers == "auto":
        return list(card.layers)
    names = [layer.name for layer in card.layers]
    for glob in layers:
        if not any(fnmatchcase(name, glob) for name in names):
            raise unknown_name("params: network.layers:", glob, names)
    return [layer for layer in card.layers if any(fnmatchcase(layer.name, glob) for glob in layers)]


def _values(picture: Picture | Literal["auto"]) -> dict | None:
    """What the network takes, where params say so."""
    if picture == "auto":
        return None
    values = asdict(picture)
    return values | {name: values[name] or None for name in ("mean", "std")}


def _output(name: str) -> str | int | None:
    """A key of the network's outputs, or a place among them."""
    return int(name) if name.isdecimal() else name or None
