"""State dicts from files that somebody else wrote: read without running code, and compared with what is wanted."""

import pickle
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar
from safetensors import SafetensorError
from safetensors.torch import load_file

from emobench.errors import UserError

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "params", "network", "weights")
PREFIXES = ("module.", "_orig_mod.")
"""Of DataParallel and torch.compile; never a network's own."""
# torch raises whatever its unpickler meets in a file that is torn or not its own, an OSError among it.
_UNREADABLE = (
    SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError,
    AttributeError, AssertionError, UnicodeError, OverflowError,
)  # fmt: skip
LARGEST = 1e20
SAVE_STATE = "save its state dict instead: torch.save(model.state_dict(), FILE)"
NUMPY_NUMBERS: list[Any] = [
    np.dtype,
    scalar,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")),
]


def read_state(path: Path, key: str) -> dict[str, torch.Tensor]:
    """Reads a state dict from safetensors or from a torch file, without running any code that a pickle may carry.

    Wrappers (``state_dict``, ``model``, ...) and the prefix ``module.`` are taken off, which is said.

    Args:
        path: the file.
        key: under which a torch file may hold the state dict, beside other things; looked at first.

    Raises:
        UserError: no such file, not a weights file, or one without a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no weights file {path}")
    content = _content(path, key)
    taken: list[str] = []
    while not _is_state(content):
        found = [name for name in (key, *WRAPPERS) if isinstance(content, dict) and isinstance(content.get(name), dict)]
        if not found:
            raise UserError(f"{path} holds no state dict{_keys(content)}; {_expected(key)}")
        content, taken = content[found[0]], [*taken, found[0]]
    state = dict(content)
    while state and (prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in state)), None)):
        state, taken = {name.removeprefix(prefix): value for name, value in state.items()}, [*taken, prefix]
    if any(name != key for name in taken):
        print(f"{path}: took off {', '.join(taken)}", file=sys.stderr)
    return state


CHECKPOINT = ("model", "optimizer", "schedule", "history", "best")


def kept_state(path: Path, device: str) -> dict[str, Any] | None:
    """What an interrupted training kept (CHECKPOINT); None if nothing is there.

    A file that is torn, or no such checkpoint, is set aside, which is said: the training begins anew.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        if set(CHECKPOINT) <= set(state):
            return state
        reason = "it is no checkpoint"
    except _UNREADABLE as error:
        reason = type(error).__name__
    aside = path.with_suffix(".torn")
    path.replace(aside)
    print(f"{path} can't be read ({reason}): set aside as {aside.name}; beginning anew", file=sys.stderr)
    return None


def fitted_state(state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict in the form of the one that is wanted: a common prefix off, missing counters filled in.

    Floating-point values get the wanted type. What doesn't fit is left for ``differences`` to tell.
    """
    prefix = f"{next(iter(state), '').partition('.')[0]}."
    while not state.keys() & wanted.keys() and prefix != "." and all(name.startswith(prefix) for name in state):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        print(f"weights: took off the prefix {prefix}", file=sys.stderr)
        prefix = f"{next(iter(state), '').partition('.')[0]}."
    counters = {
        name: torch.zeros_like(value)
        for name, value in wanted.items()
        if name.endswith("num_batches_tracked") and name not in state
    }
    known = {
        name: value.to(wanted[name].dtype) if name in wanted and _kind(value) == _kind(wanted[name]) else value
        for name, value in state.items()
    }
    return known | counters


def _sane(value: torch.Tensor) -> bool:
    """Whether all numbers are finite and none is larger than any weight: what is told of another kind is not judged."""
    if value.is_complex() or not value.numel():
        return True
    return bool((value.float().abs() <= LARGEST).all())


def _kind(value: torch.Tensor) -> tuple[bool, bool]:
    """Only numbers of one kind are made into each other: integers or complex ones are no weights."""
    return value.is_floating_point(), value.is_complex()


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
        "values that are no floating-point numbers": [
            f"{name} {state[name].dtype}"
            for name, value in wanted.items()
            if name in state and value.is_floating_point() and not state[name].is_floating_point()
        ],
        f"values that are not finite, or beyond {LARGEST:g}": [
            name for name in wanted if name in state and not _sane(state[name])
        ],
    }
    return "; ".join(
        f"{what}: {', '.join(names[:5])}{' ...' * (len(names) > 5)}" for what, names in wrong.items() if names
    )


def _content(path: Path, key: str) -> Any:
    """What a file holds, or what it is instead of weights."""
    with open(path, "rb") as file:
        head = file.read(512).lstrip()
    if head.startswith(b"version https://git-lfs"):
        raise UserError(f"{path} is a Git LFS pointer, not the file itself; fetch it: git lfs pull")
    if head[:9].lower() in (b"<!doctype", b"<html>") or head[:5].lower() == b"<html":
        raise UserError(f"{path} is a web page, not a weights file; download the file itself")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any("/code/" in name or name.endswith("constants.pkl") for name in archive.namelist()):
                raise UserError(f"{path} is a TorchScript archive, a program with its weights; {SAVE_STATE}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(NUMPY_NUMBERS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if found := re.search(r"(?:GLOBAL|global:?) ([\w.]+\.\w+)", str(error)):
            what = f"{path} is a pickle of whole objects ({found[1]}), and reading it could run code"
            raise UserError(f"{what}; {SAVE_STATE}") from None
        raise UserError(f"{path} is not a weights file (UnpicklingError); {_expected(key)}") from None
    except _UNREADABLE as error:
        raise UserError(f"{path} is not a weights file ({type(error).__name__}); {_expected(key)}") from None


def _is_state(content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(value, torch.Tensor) for value in content.values())


def _keys(content: Any) -> str:
    """Names some keys of what is no state dict."""
    return f" (it has {', '.join(map(str, list(content)[:5]))})" if isinstance(content, dict) and content else ""


def _expected(key: str) -> str:
    return f"expected .safetensors, or a torch file with a state dict, alone or as {{{key!r}: ...}}"
