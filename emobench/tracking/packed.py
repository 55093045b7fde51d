"""A network in a folder that can be carried anywhere: its card, its weights and, where its architecture is one, a file.

The folder is as ``emobench.networks.sources.load_network`` reads it, but that the card names the file (FILE.py of
``FILE.py:FUNCTION``, or FILE.pt2) by its name alone: it lies beside the card.
"""

import shutil
from dataclasses import replace
from pathlib import Path

from emobench.errors import UserError
from emobench.files import write_sealed
from emobench.networks.card import FILE, NetworkCard
from emobench.networks.sources import WEIGHTS, save_weights, state_digest
from emobench.settings.network import file_of
from emobench.weights import differences, read_state


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
    if weights == network / WEIGHTS and state_digest(state) != card.weights:
        raise UserError(f"{weights} are other weights than {network / FILE} tells of; run dvc repro network")
    folder.mkdir(parents=True)
    named, _ = file_of(card.architecture)
    if named:
        file = Path(named)
        if not file.is_file():
            raise UserError(f"no {file}, which network.architecture names")
        shutil.copyfile(file, folder / file.name)
        card = replace(card, architecture=card.architecture.replace(named, file.name, 1))
    save_weights(state, folder / WEIGHTS)
    write_sealed(folder / FILE, replace(card, weights=state_digest(state)).to_json())
