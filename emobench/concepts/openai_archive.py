"""OpenAI's published CLIP archives (``ViT-B-16.pt``): the tensors of a TorchScript file, without running its program.

``torch.jit.load``, which open_clip uses, hands the archive's code to an interpreter in C++ that was not made to hold
hostile programs. It isn't needed: the tensors hang on a tree of modules that is pickled as in any torch file, only that
the tree's classes are the archive's own. A copy of the archive without its program is read by
``torch.load(weights_only=True)``, to which each of these classes is an empty box; anything else that torch doesn't
hold harmless is refused as in every weights file.
"""

import io
import pickle
import pickletools
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from emobench.errors import UserError

MODULES = "__torch__."
"""Begins the names of an archive's own classes."""
NUMBERS = ("input_resolution", "context_length", "vocab_size")
"""Buffers of OpenAI's that are no weights."""
OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class _Module:
    """A box that a module's attributes are put into."""


def is_program(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(PurePosixPath(name).name == "constants.pkl" for name in archive.namelist())


def read_archive(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a TorchScript archive, by name.

    Raises:
        UserError: the archive is torn or asks for more than boxes and tensors.
    """
    with tempfile.TemporaryFile() as copy:
        try:
            names = _copy_without_program(path, copy)
            copy.seek(0)
            with torch.serialization.safe_globals([(_Module, name) for name in names]):
                tree = torch.load(copy, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, LookupError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:120]
            raise UserError(f"{path} is not an archive whose weights can be read alone ({reason})") from None
    state: dict[str, torch.Tensor] = {}
    _collect(tree, "", state, set())
    return {
        name: value
        for name, value in state.items()
        if name not in NUMBERS and not name.endswith("attn_mask") and value.is_floating_point()
    }


def _copy_without_program(path: Path, copy: Any) -> set[str]:
    """Writes the archive's pickled tree and tensors to ``copy``; returns the classes of the tree that are its own."""
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as bare:
        names = whole.namelist()
        top = PurePosixPath(next(name for name in names if PurePosixPath(name).name == "constants.pkl")).parent
        kept = [name for name in names if PurePosixPath(name).relative_to(top).parts[0] in _KEPT]
        for name in kept:
            with whole.open(name) as source, bare.open(zipfile.ZipInfo(name), "w", force_zip64=True) as target:
                while block := source.read(1 << 20):
                    target.write(block)
        content = whole.read(str(top / "data.pkl"))
    classes = (str(value) for code, value, _ in pickletools.genops(io.BytesIO(content)) if code.name == "GLOBAL")
    return {name.replace(" ", ".") for name in classes if name.startswith(MODULES)}


_KEPT = ("data.pkl", "data", "version", "byteorder")


def _collect(tree: Any, prefix: str, state: dict[str, torch.Tensor], seen: set[int]) -> None:
    """Gathers the tensors below a module; a module that stands in the tree twice counts once."""
    if id(tree) in seen:
        return
    seen.add(id(tree))
    for name, value in vars(tree).items() if isinstance(tree, _Module) else ():
        if isinstance(value, torch.Tensor):
            state[prefix + name] = value
        elif isinstance(value, _Module):
            _collect(value, f"{prefix}{name}.", state, seen)


def archive_config(state: dict[str, torch.Tensor], path: Path) -> dict[str, Any]:
    """The ``model_cfg`` of OpenAI's weights, by their shapes, as open_clip finds it.

    Raises:
        UserError: they are not OpenAI's.
    """
    try:
        embed_dim = state["text_projection"].shape[1]
        width = state["ln_final.weight"].shape[0]
        vision = _transformer(state) if "visual.proj" in state else _resnet(state)
        text = {
            "context_length": state["positional_embedding"].shape[0],
            "vocab_size": state["token_embedding.weight"].shape[0],
            "width": width,
            "heads": width // 64,
            "layers": _count(state, "transformer.resblocks.", 2),
        }
    except KeyError as error:
        raise UserError(
            f"{path} is a TorchScript archive, but not one of OpenAI's CLIPs (it lacks {error.args[0]}); expected "
            "theirs, an open_clip folder or a weights file"
        ) from None
    return {"embed_dim": embed_dim, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}


def _transformer(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    patches = state["visual.conv1.weight"]
    grid = round((state["visual.positional_embedding"].shape[0] - 1) ** 0.5)
    return {
        "image_size": patches.shape[-1] * grid,
        "layers": _count(state, "visual.transformer.resblocks.", 3),
        "width": patches.shape[0],
        "patch_size": patches.shape[-1],
    }


def _resnet(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    grid = round((state["visual.attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
    return {
        "image_size": grid * 32,
        "layers": [_count(state, f"visual.layer{stage}.", 2) for stage in (1, 2, 3, 4)],
        "width": state["visual.layer1.0.conv1.weight"].shape[0],
        "patch_size": None,
    }


def _count(state: dict[str, torch.Tensor], prefix: str, place: int) -> int:
    """How many different names stand at a place of those that begin with ``prefix``."""
    return len({name.split(".")[place] for name in state if name.startswith(prefix)})
