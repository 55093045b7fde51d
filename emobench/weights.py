"""State dicts from files that somebody else wrote: read without running code, and compared with what is wanted."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from emobench.errors import UserError


def read_state(path: Path, key: str) -> dict[str, torch.Tensor]:
    """Reads a state dict from safetensors or from a torch file, without running any code that a pickle may carry.

    Args:
        path: the file.
        key: under which a torch file may hold the state dict, beside other things.

    Raises:
        UserError: no such file, not a weights file, or one without a state dict.
    """
    if not path.is_file():
        raise UserError(f"no weights file {path}")
    expected = f"expected .safetensors, or a torch file with a state dict, alone or as {{{key!r}: ...}}"
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises whatever its unpickler meets in a file that is torn or not its own, an OSError among it.
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, LookupError) as error:
        raise UserError(f"{path} is not a weights file ({type(error).__name__}); {expected}") from None
    state = content.get(key, content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state dict; {expected}")
    return state


def differences(state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str:
    """Names what keeps a state dict from being loaded; empty if nothing does."""
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
    return "; ".join(
        f"{what}: {', '.join(names[:5])}{' ...' * (len(names) > 5)}" for what, names in wrong.items() if names
    )
