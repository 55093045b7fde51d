"""Section network of params.yaml from what the user gave, and the network built once, so that what fails fails here."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from emobench.errors import UserError
from emobench.files import file_digest
from emobench.inputs.bring import own_place, there
from emobench.inputs.given import Given, as_params, flow
from emobench.networks.asked import asked_network
from emobench.networks.builders import LOADING_RUNS_CODE
from emobench.networks.card import InputCard, NetworkCard
from emobench.params import NONE
from emobench.settings.network import file_of


@dataclass(frozen=True)
class OwnFile:
    """A file that an architecture names: where it is, and where it will lie in the repository."""

    path: Path
    place: Path


def write_network(values: Any, given: Given, root: Path) -> OwnFile | None:
    """Writes architecture, options and source of the weights into section network.

    Args:
        values: all of params.yaml; changed.
        given: the user's wishes.
        root: the repository.

    Returns:
        The file that the architecture names, which is still to be copied into the repository; None if it names none.

    Raises:
        UserError: a file is missing, or a ``.pt2`` that the user didn't say to trust.
    """
    section, own = values["network"], None
    if given.network:
        architecture, own = _architecture(given.network, root)
        if architecture != section["architecture"]:
            section |= {"architecture": architecture, "options": {}}
            values["edit"] |= {"layer": "auto"}
        section |= {"file": str(own.place) if own else NONE}
    section["options"] |= dict(given.options)
    if given.layers:
        section["layers"] = flow(given.layers)
    program = section["architecture"].endswith(".pt2")
    if program and given.weights:
        raise UserError(f"{section['architecture']} has its weights inside; it takes no --weights")
    if program:
        digest = _trusted(own.path if own else root / section["file"], given)
        values["record"]["untrained"] = False
    if program or given.weights:
        section.pop("train", None)
        kept = {"source": "weights", "classes": flow(given.classes), "output": given.output}
        section |= kept | {"sha256": digest if program else ""}
    return own


def _architecture(text: str, root: Path) -> tuple[str, OwnFile | None]:
    """The architecture as params have it: a file that it names is in the repository."""
    file, function = file_of(text)
    if not file:
        return text, None
    if file.endswith(".py") and not function:
        raise UserError(f"--network {text} names no function; expected FILE.py:FUNCTION")
    own = OwnFile(Path(file), own_place(root, Path(), Path(file)))
    return f"{own.place}:{function}" if function else str(own.place), own


def _trusted(path: Path, given: Given) -> str:
    """The sha256 of a ``.pt2`` file, where the user said to trust it."""
    found = file_digest(there(path))
    if given.sha256 and given.sha256.lower() != found:
        raise UserError(f"{path}: its sha256 is {found}, --sha256 says {given.sha256}")
    if not (given.sha256 or given.trust):
        raise UserError(f"{path}: {LOADING_RUNS_CODE}; if you trust it, say so: --sha256 {found} (or --trust)")
    return found


def tried(values: Any, given: Given, own: OwnFile | None, classes: Sequence[str], root: Path) -> NetworkCard:
    """Builds the network from the files where they are now, with its weights; its picture is completed.

    Args:
        values: all of params.yaml; ``network.picture`` is written where the user gave some of it.
        given: the user's files and wishes.
        own: the file that the architecture names.
        classes: the data's.
        root: the repository.

    Raises:
        UserError: anything of that doesn't fit together.
    """
    params = as_params(values)
    asked, weights = params.network, given.weights
    if own:
        _, function = file_of(asked.architecture)
        architecture = f"{own.path}:{function}" if function else str(own.path)
        asked = replace(asked, architecture=architecture, file=str(own.path))
    if weights:
        asked = replace(asked, input=str(there(weights).resolve()))
    if given.picture:
        card = asked_network(asked, classes, seed=params.seed, root=root, bare=True, changed=given.picture).card.input
        values["network"]["picture"] = _picture(card)
        asked = replace(asked, picture=as_params(values).network.picture)
    return asked_network(asked, classes, seed=params.seed, root=root).card


def _picture(card: InputCard) -> dict[str, Any]:
    """What a network takes, as params have it."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(card).items()}
    values |= {name: values[name] or [] for name in ("mean", "std")}
    return {name: flow(value) if isinstance(value, list) else value for name, value in values.items()}


def fit_layers(values: Any, card: NetworkCard) -> list[str]:
    """Leaves layers that this network lacks out of the joint search; says so."""
    names, joint = [layer.name for layer in card.editable], values["edit"]["search"]["joint"]
    if joint == "all" or all(layer in names for layer in joint):
        return []
    values["edit"]["search"]["joint"] = flow([])
    return [f"edit.search.joint is empty: this network has no {', '.join(name for name in joint if name not in names)}"]


def network_in_words(card: NetworkCard, source: str) -> list[str]:
    """What it takes, where its weights come from, and how its edits are evaluated."""
    taken, chosen = card.input, card.chosen
    ways = {way: sum(layer.way == way for layer in chosen) for way in ("quick", "cut", "whole")}
    normal = f", less mean {_numbers(taken.mean)}" if taken.mean else ""
    normal += f", divided by std {_numbers(taken.std)}" if taken.std else ""
    crop = f", the middle {taken.crop:g}" if taken.crop < 1 else ""
    return [
        f"network: {card.architecture}, {source}; it takes {picture_in_words(taken.channels, taken.size)} "
        f"({taken.interpolation}{crop}), values {taken.range[0]:g} to {taken.range[1]:g}{normal}",
        f"layers: {len(chosen)} of {len(card.layers)} recorded; edits are evaluated "
        + ", ".join(f"{way} in {count}" for way, count in ways.items() if count)
        + (f" (no graph: {card.whole})" if card.whole else ""),
    ]


def picture_in_words(channels: int, size: Sequence[int]) -> str:
    """Such as RGB 224x224."""
    return f"{'grey' if channels == 1 else 'RGB'} {size[0]}x{size[1]}"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
