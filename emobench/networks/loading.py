"""Weights to a network: safetensors, or the published checkpoint form ``{"params": state_dict, ...}``."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from emobench.errors import UserError
from emobench.files import replacing
from emobench.networks.vggnet import HIDDEN, INPUT_SIZE, VGGNet
from emobench.params import LAYERS
from emobench.vocabulary import CLASSES
from emobench.weights import differences, read_state


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready to be recorded: evaluation mode, with what turns pictures into its input."""

    model: torch.nn.Module
    transform: Callable[[np.ndarray], torch.Tensor]
    class_names: tuple[str, ...]
    layers: tuple[str, ...]


def to_inputs(images: np.ndarray) -> torch.Tensor:
    """Pictures uint8 (images, 48, 48) to VGGNet's input: float (images, 1, 40, 40) in [0, 1], bilinear, antialiased."""
    scaled = torch.from_numpy(np.array(images, dtype=np.float32)).div_(255)[:, None]
    return F.interpolate(scaled, (INPUT_SIZE, INPUT_SIZE), mode="bilinear", antialias=True, align_corners=False)


def load_network(path: Path | str, *, dropout: float = 0.2, device: str = "cpu") -> LoadedNetwork:
    """Loads a VGGNet; its width is read off the weights, half precision is widened to float32.

    Args:
        path: a ``.safetensors`` file, or a torch file with a state dict or ``{"params": state_dict, ...}``.
        dropout: rate of the dropout layers, for further training.
        device: where the model goes.

    Raises:
        UserError: no such file, not a weights file, or weights of another network (missing and unexpected keys and
            shapes are named) or with values that are not finite.
    """
    state = read_state(Path(path), "params")
    # lin1 has the most units: the width read off it rounds back to every layer's number of channels.
    width = len(state["lin1.bias"]) / HIDDEN if "lin1.bias" in state else 1.0
    model = VGGNet(width, dropout)
    if found := differences(state, model.state_dict()):
        raise UserError(f"{path} is not a VGGNet: {found}")
    model.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    )
    return LoadedNetwork(model.eval().to(device), to_inputs, CLASSES, LAYERS)


def save_network(model: torch.nn.Module, path: Path) -> None:
    """Writes the state dict as safetensors, atomically."""
    save_state(model.state_dict(), path)


def save_state(state: dict[str, torch.Tensor], path: Path) -> None:
    """Writes a state dict as safetensors, atomically."""
    with replacing(path) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, temporary)
