"""A network in a folder that can be carried anywhere: its card, its weights and, where its architecture is one, a file.

The folder is as ``emobench.networks.sources.load_network`` reads it, but that the card names the file (FILE.py of
``FILE.py:FUNCTION``, or FILE.pt2) by its name alone: it lies beside the card.
"""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from emobench.errors import UserError
from emobench.files import write_json
from emobench.networks.card import FILE, NetworkCard
from emobench.networks.network import Network
from emobench.networks.sources import WEIGHTS, load_network, save_weights, state_digest
from emobench.weights import differences, read_state


def architecture_file(architecture: str) -> Path | None:
    """The file that an architecture names; None if it names none."""
    path = architecture.rpartition(":")[0] if ".py:" in architecture else architecture
    return Path(path) if path.endswith((".py", ".pt2")) else None


def pack(network: Path, weights: Path, folder: Path) -> None:
    """Copies a network into a new folder, with other weights.

    Args:
        network: the folder that the stage network wrote.
        weights: safetensors with the names and shapes of the network's own.
        folder: where to; it must not exist.

    Raises:
        UserError: a file is missing, or the weights are another network's.
    """
    card, state = NetworkCard.read(network), read_state(weights, "params")
    if weights != network / WEIGHTS and (found := differences(state, read_state(network / WEIGHTS, "params"))):
        raise UserError(f"{weights} are not weights of {network}: {found}")
    folder.mkdir(parents=True)
    if (file := architecture_file(card.architecture)) is not None:
        if not file.is_file():
            raise UserError(f"no {file}, which network.architecture names")
        shutil.copyfile(file, folder / file.name)
        card = replace(card, architecture=card.architecture.replace(str(file), file.name, 1))
    save_weights(state, folder / WEIGHTS)
    write_json(folder / FILE, replace(card, weights=state_digest(state)).to_json())


def load_packed(folder: Path) -> Network:
    """The network of a packed folder, wherever it lies.

    Raises:
        UserError: it is no such folder.
    """
    card = NetworkCard.read(folder)
    if (file := architecture_file(card.architecture)) is None:
        return load_network(folder)
    here = card.architecture.replace(file.name, str(folder.resolve() / file.name), 1)
    with tempfile.TemporaryDirectory() as temporary:
        # load_network looks for the file from the working directory: a card beside linked weights says where it is.
        write_json(Path(temporary) / FILE, replace(card, architecture=here).to_json())
        (Path(temporary) / WEIGHTS).symlink_to(folder.resolve() / WEIGHTS)
        network = load_network(temporary)
    return Network(network.model, card)
