"""A CLIP from local files: a folder as on the model hub, OpenAI's archive, or bare weights with a model's name.

The first two know their own architecture and preprocessing: params leave those keys empty, and what they state all the
same must not contradict the files. Bare weights know neither.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from open_clip.pretrained import get_pretrained_cfg
from open_clip.transform import PreprocessCfg

from emobench.concepts.clip import CONFIG, ClipModel, Origin, build, load_weights, preprocessing, ready
from emobench.concepts.clip_config import are_colours
from emobench.concepts.openai_archive import OPENAI_MEAN, OPENAI_STD, archive_config, is_program, read_archive
from emobench.concepts.tokenizing import tokenizer_of
from emobench.errors import UserError, unknown_name
from emobench.files import file_digest
from emobench.settings.concepts import GivenClip
from emobench.weights import fitted_state, read_state

WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "open_clip_model.pt")
"""What a folder's weights may be called, the first that is there."""


class Given(NamedTuple):
    """What is known of a CLIP before its weights are loaded; ``state``: those that had to be read for it."""

    name: str
    weights: Path
    config: dict[str, Any]
    preprocess: dict[str, Any]
    state: dict[str, torch.Tensor] | None = None
    folder: Path | None = None


def from_checkpoint(clip: GivenClip, device: str, root: Path = Path()) -> ClipModel:
    """Loads the CLIP that params name.

    Args:
        clip: section clip of params.yaml.
        device: where the model goes.
        root: what ``clip.input`` is relative to.

    Raises:
        UserError: a file is missing or of another form; params contradict it; the weights don't fit the model; OpenAI's
            weights without the quick GELU or the preprocessing that they were trained with, which no shape gives away.
    """
    given = look_at(clip, root)
    digest = file_digest(given.weights)
    _check_openai(given, digest)
    tokenizer_of(given.config["text_cfg"], given.folder)  # before gigabytes of weights
    model = build(given.config)
    state = given.state or read_state(given.weights, "state_dict")
    load_weights(model, fitted_state(state, model.state_dict()), given.weights)
    origin = Origin("checkpoint", given.name, weights_digest=digest)
    return ready(model, given.config, given.preprocess, origin, device, given.folder)


def look_at(clip: GivenClip, root: Path = Path()) -> Given:
    """Reads as much of a CLIP's files as tells what it is, and holds params against it.

    Raises:
        UserError: as :func:`from_checkpoint`, but for the weights themselves.
    """
    path = root / clip.input
    if path.is_dir():
        return _folder(clip, path)
    if not path.is_file():
        raise UserError(f"no weights file {path} (params clip.input)")
    if is_program(path):
        state = read_archive(path)
        config = archive_config(state, path)
        _agree(clip, config, OPENAI_MEAN, OPENAI_STD, path)
        preprocess = preprocessing(config["vision_cfg"]["image_size"], OPENAI_MEAN, OPENAI_STD)
        return Given(f"OpenAI's {path.stem}", path, config, preprocess, state)
    if not clip.model:
        raise UserError(
            f"params: clip.model is empty, but {path} holds only weights; expected the open_clip name of their model, "
            "as ViT-B-16-quickgelu"
        )
    config = model_config(clip.model)
    preprocess = preprocessing(config["vision_cfg"].get("image_size", 224), clip.image_mean, clip.image_std)
    return Given(clip.model, path, config, preprocess)


def model_config(model: str) -> dict[str, Any]:
    """The ``model_cfg`` of an open_clip model name. Raises UserError if there is none."""
    if model not in open_clip.list_models():
        raise unknown_name("params: clip.model", model, open_clip.list_models())
    return open_clip.get_model_config(model)


def _folder(clip: GivenClip, folder: Path) -> Given:
    """A folder as on the model hub."""
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if not (folder / CONFIG).is_file() or weights is None:
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:6]) or "nothing"
        raise UserError(f"{folder} holds {found}; expected {CONFIG} and one of {', '.join(WEIGHT_FILES)}")
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config, stated = content["model_cfg"], content.get("preprocess_cfg") or {}
        if not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
            raise ValueError("its model_cfg lacks embed_dim, vision_cfg or text_cfg")
        size = config["vision_cfg"].get("image_size", 224)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{folder / CONFIG} is not an open_clip config: {error}") from None
    usual = PreprocessCfg()
    mean, std = stated.get("mean") or usual.mean, stated.get("std") or usual.std
    if _square(stated.get("size", size)) != _square(size):
        raise UserError(f"{folder / CONFIG}: preprocess_cfg has size {stated['size']}, vision_cfg image_size {size}")
    if not are_colours(mean, std):
        what = f"preprocess_cfg has mean {mean}, std {std}"
        raise UserError(f"{folder / CONFIG}: {what}; expected three numbers each, std above 0")
    _agree(clip, config, mean, std, folder / CONFIG)
    preprocess = preprocessing(size, mean, std, stated.get("interpolation") or usual.interpolation)
    preprocess["resize_mode"] = stated.get("resize_mode") or usual.resize_mode
    return Given(folder.name, weights, config, preprocess, folder=folder)


def _square(size: Any) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)


def _agree(clip: GivenClip, config: Mapping[str, Any], mean: Sequence[float], std: Sequence[float], path: Path) -> None:
    """Holds what params state against what the files say of themselves."""
    for key, stated, known in (("image_mean", clip.image_mean, mean), ("image_std", clip.image_std, std)):
        if stated and (len(stated) != 3 or max(abs(a - b) for a, b in zip(stated, known, strict=True)) > 1e-6):
            raise UserError(f"params: clip.{key} is {stated}, but {path} says {list(known)}; expected that, or []")
    if clip.model and (where := _difference(model_config(clip.model), config)):
        key, expected, known = where
        raise UserError(
            f'params: clip.model is {clip.model}, whose {key} is {expected}, but {path} says {known}; expected "" or '
            "the name of its own model"
        )


def _difference(expected: Any, known: Any, key: str = "model") -> tuple[str, Any, Any] | None:
    """The first key in which two configs differ; keys that only one has are no difference, quick GELU apart."""
    if isinstance(expected, Mapping) and isinstance(known, Mapping):
        keys = [name for name in expected if name in known]
        if key == "model" and bool(expected.get("quick_gelu")) != bool(known.get("quick_gelu")):
            return "quick_gelu", bool(expected.get("quick_gelu")), bool(known.get("quick_gelu"))
        return next((found for name in keys if (found := _difference(expected[name], known[name], name))), None)
    return None if expected == known else (key, expected, known)


def _check_openai(given: Given, digest: str) -> None:
    """OpenAI's weights need what they were trained with."""
    if "openai" not in given.weights.name.lower() and digest not in _openai_digests():
        return
    if not given.config.get("quick_gelu", False):
        raise UserError(
            f"{given.weights} holds OpenAI's weights, which need quick GELU, but clip.model is {given.name}; "
            "expected a config with it, e.g. ViT-B-16-quickgelu"
        )
    for key, known in (("mean", OPENAI_MEAN), ("std", OPENAI_STD)):
        stated = given.preprocess[key]
        if max(abs(a - b) for a, b in zip(stated, known, strict=True)) > 1e-3:
            raise UserError(
                f"{given.weights} holds OpenAI's weights, but clip.image_{key} is {stated}; expected {list(known)}"
            )


def _openai_digests() -> set[str]:
    """sha256 of the files OpenAI published, as open_clip lists them."""
    urls = [
        get_pretrained_cfg(name, tag).get("url", "") for name, tag in open_clip.list_pretrained() if tag == "openai"
    ]
    return {url.split("/")[-2] for url in urls if "/" in url}
