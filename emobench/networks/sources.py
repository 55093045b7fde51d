"""Networks from an architecture with weights, and from and to a folder: the card beside safetensors."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from emobench.errors import UserError
from emobench.files import readable, replacing, write_sealed
from emobench.networks.around import Ordered, Selected
from emobench.networks.builders import built
from emobench.networks.card import FILE, InputCard, NetworkCard
from emobench.networks.graph import ExportError, answer, answers_alike, capture
from emobench.networks.layers import unit_layers
from emobench.networks.network import Network
from emobench.networks.ranges import check_weights_alone
from emobench.networks.recorder import seen_by_hooks
from emobench.networks.transform import input_card
from emobench.settings.network import file_of
from emobench.weights import differences, fitted_state, read_state

WEIGHTS = "weights.safetensors"


def build_network(
    architecture: str,
    options: Mapping[str, Any] | None = None,
    weights: Path | str | Mapping[str, Tensor] | None = None,
    *,
    classes: Sequence[str],
    input: InputCard | Mapping[str, Any] | None = None,
    digest: str | None = None,
    output: str | int | None = None,
    wanted: Sequence[str] = (),
    seed: int = 0,
) -> Network:
    """Builds a network, in evaluation mode, and looks at it: what it takes, its layers, whether it answers twice alike.

    Args:
        architecture: ``vggnet``, ``deep_emotion``, ``torchvision/NAME``, ``timm/NAME``, ``FILE.py:FUNCTION``, ``.pt2``.
        options: for its builder; the number of classes is set where the builder knows it.
        weights: a weights file or a state dict; None for random weights by ``seed``.
        classes: names of the outputs, in their order.
        input: what it takes, or the values of it that differ from the architecture's own.
        digest: sha256 of a ``.pt2`` file.
        output: which of several outputs holds the logits.
        wanted: the data set's classes, in the order that answers shall have; none: as ``classes``.
        seed: of random weights.

    Raises:
        UserError: anything of that doesn't fit together; what came and what was expected is named.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, usual = built(architecture, options or {}, len(classes), digest)
    if output is not None:
        model = Selected(model, output)
    if weights is not None:
        state = weights if isinstance(weights, Mapping) else read_state(Path(weights), "params")
        what = architecture if isinstance(weights, Mapping) else f"{weights}: {architecture}"
        _load(model, state, what, f"; it was built for {len(classes)} classes")
    facts: dict[str, Any] = {
        "architecture": architecture,
        "options": dict(options or {}),
        "output": output,
        "digest": digest,
    }
    card = input_card(input, usual)
    _check(model.eval(), card, classes)
    if wanted and tuple(wanted) != tuple(classes):
        _check_classes(classes, wanted)
        model = Ordered(model, tuple(classes), wanted).eval()
        facts["outputs"] = tuple(classes)
    return _looked_at(model, card, tuple(wanted or classes), facts)


def with_weights(network: Network, state: Mapping[str, Tensor]) -> Network:
    """The same network with other weights; the one given stays as it is.

    Raises:
        UserError: they are not of this network.
    """
    model = _model(network.card, state, network.card.architecture)
    return Network(model, replace(network.card, weights=state_digest(model.state_dict())))


def untrained(card: NetworkCard, *, seed: int) -> Network:
    """The same network with random weights, which depend on ``seed`` alone.

    Raises:
        UserError: it can't be built anew.
    """
    if card.architecture.endswith(".pt2"):
        raise UserError("record.untrained: a .pt2 file has its weights inside; set it to false")
    model = _model(card, None, card.architecture, seed)
    return Network(model, replace(card, weights=state_digest(model.state_dict())))


def load_network(folder: Path | str) -> Network:
    """Reads the network that ``save_network`` wrote. The file that an architecture names may lie beside its card.

    Raises:
        UserError: a file is missing, or the weights are not those of the card.
    """
    folder = Path(folder)
    card = NetworkCard.read(folder)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"no {folder / WEIGHTS}; run the stage 'network' again (dvc repro network)")
    state = read_state(folder / WEIGHTS, "params")
    if state_digest(state) != card.weights:
        raise UserError(f"{folder / WEIGHTS} are other weights than {folder / FILE} tells of")
    return Network(_model(_beside(card, folder), state, f"{folder / WEIGHTS}: {card.architecture}"), card)


def save_network(network: Network, folder: Path | str) -> None:
    """Writes ``network.json`` and ``weights.safetensors``; the folder appears only when both are complete.

    Raises:
        UserError: a network that is more than its weights (see emobench.networks.ranges).
    """
    check_weights_alone(network.model)
    with replacing(Path(folder)) as temporary:
        temporary.mkdir()
        save_weights(network.model.state_dict(), temporary / WEIGHTS)
        card = replace(network.card, weights=state_digest(network.model.state_dict()))
        write_sealed(temporary / FILE, card.to_json())


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Writes a state dict as safetensors, atomically, readable for whom the umask lets."""
    with replacing(path) as temporary:
        # Clones: safetensors refuses tensors that share memory.
        save_file({name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, temporary)
        readable(temporary)


def state_digest(state: Mapping[str, Tensor]) -> str:
    """sha256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()


def rebuilt(card: NetworkCard, state: Mapping[str, np.ndarray], device: str) -> Network:
    """The network of a card and its weights as arrays."""
    tensors = {name: torch.tensor(value) for name, value in state.items()}
    return Network(_model(card, tensors, card.architecture), card).to(device)


def _looked_at(model: nn.Module, card: InputCard, classes: tuple[str, ...], facts: dict[str, Any]) -> Network:
    """The network with all that is found out by running it."""
    example = _example(card)
    try:
        capture(model, example)
        whole = ""
    except ExportError as error:
        whole = str(error)
    layers = tuple(unit_layers(model, example))
    found = NetworkCard(
        **facts,
        weights=state_digest(model.state_dict()),
        input=card,
        classes=classes,
        agrees=answers_alike(model, example),
        layers=layers,
        whole=whole,
        hooked=seen_by_hooks(model, [layer.name for layer in layers], example),
    )
    return Network(model, found)


def _model(card: NetworkCard, state: Mapping[str, Tensor] | None, what: str, seed: int = 0) -> nn.Module:
    """The model of a card, with given weights, or random ones by seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, _ = built(card.architecture, card.options, len(card.outputs or card.classes), card.digest)
    model = model if card.output is None else Selected(model, card.output)
    if state is not None:
        _load(model, state, what)
    return (Ordered(model, card.outputs, card.classes) if card.outputs else model).eval()


def _beside(card: NetworkCard, folder: Path) -> NetworkCard:
    """The card, its architecture's file being the one beside it, where there is one (see emobench.tracking.packed)."""
    file, _ = file_of(card.architecture)
    here = folder.resolve() / Path(file).name
    if not file or not here.is_file():
        return card
    return replace(card, architecture=card.architecture.replace(file, str(here), 1))


def _load(model: nn.Module, state: Mapping[str, Tensor], what: str, built_for: str = "") -> None:
    wanted = model.state_dict()
    fitting = fitted_state(state, wanted)
    if found := differences(fitting, wanted):
        raise UserError(f"{what} does not fit: {found}{built_for}")
    model.load_state_dict(fitting)


def _example(card: InputCard) -> Tensor:
    return torch.rand(2, card.channels, *card.size, generator=torch.Generator().manual_seed(0))


def _check_classes(outputs: Sequence[str], wanted: Sequence[str]) -> None:
    """Whether an output stands for each of the wanted classes."""
    lacking = [name for name in wanted if name not in outputs]
    if lacking:
        raise UserError(
            f"the network has no output for {', '.join(lacking)}; network.classes is {', '.join(outputs)}, the data's "
            f"classes are {', '.join(wanted)}"
        )


def _check(model: nn.Module, card: InputCard, classes: Sequence[str]) -> None:
    """Whether it takes what it should take, and puts out as many numbers as there are classes."""
    example = _example(card)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            logits = answer(model, example)
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        line = next(iter(str(error).splitlines()), "")
        raise UserError(
            f"the network does not take {tuple(example.shape[1:])}: {type(error).__name__}: {line}; what it takes is "
            "said as network.picture, or by emobench use ... --picture channels=1 --picture size=[64,64]"
        ) from None
    if logits.shape[1] != len(classes):
        named = ", ".join(classes)
        raise UserError(f"the network puts out {logits.shape[1]} numbers; expected {len(classes)}: {named}")
