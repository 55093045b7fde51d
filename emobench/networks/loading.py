"""Weights to a network: safetensors, or the published checkpoint form ``{"params": state_dict, ...}``."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from emobench.errors import UserError
from emobench.files import replacing
from emobench.networks.vggnet import HIDDEN, INPUT_SIZE, VGGNet
from emobench.params import LAYERS
from emobench.vocabulary import CLASSES


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
    state = read_state(Path(path))
    # lin1 has the most units: the width read off it rounds back to every layer's number of channels.
    width = len(state["lin1.bias"]) / HIDDEN if "lin1.bias" in state else 1.0
    model = VGGNet(width, dropout)
    check_state(state, model.state_dict(), Path(path))
    model.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    )
    return LoadedNetwork(model.eval().to(device), to_inputs, CLASSES, LAYERS)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Reads a state dict from either form, without running any code that a pickle may carry."""
    if not path.is_file():
        raise UserError(f"no weights file {path}")
    expected = "expected .safetensors, or a torch file with a state dict, alone or as {'params': ...}"
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not a weights file ({type(error).__name__}); {expected}") from None
    state = content.get("params", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state dict; {expected}")
    return state


def check_state(state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], path: Path) -> None:
    """Compares a state dict with the one wanted. Raises UserError naming what differs."""
    wrong = {
        "missing keys": sorted(wanted.keys() - state.keys()),
        "unexpected keys": sorted(state.keys() - wanted.keys()),
        "wrong shapes": [
            f"{name} {tuple(state[name].shape)}, expected {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in state and state[name].shape != value.shape
        ],
        "values that are not finite": [
            name for name in wanted if name in state and not torch.isfinite(state[name].float()).all()
        ],
    }
    found = [
        f"{what}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}" for what, names in wrong.items() if names
    ]
    if found:
        raise UserError(f"{path} is not a VGGNet: {'; '.join(found)}")


def save_network(model: torch.nn.Module, path: Path) -> None:
    """Writes the state dict as safetensors, atomically."""
    save_state(model.state_dict(), path)


def save_state(state: dict[str, torch.Tensor], path: Path) -> None:
    """Writes a state dict as safetensors, atomically."""
    with replacing(path) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, temporary)


def pick_device(name: str) -> str:
    """The torch device for params' ``device``: ``auto`` takes CUDA where there is one.

    Raises:
        UserError: ``cuda`` is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("params: device is cuda, but torch finds no CUDA device; expected cpu or auto here")
    return "cuda" if available and name != "cpu" else "cpu"
