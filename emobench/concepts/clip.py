"""The one adapter on open_clip: a folder with a model, its preprocessing and where it came from; embeddings out.

The folder holds ``open_clip_config.json`` and ``open_clip_model.safetensors`` (open_clip itself reads them as
``local-dir:FOLDER``) and ``clip.json``, what is known about the model's origin (see ``Origin``).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from emobench.errors import UserError
from emobench.files import write_json
from emobench.progress import progress
from emobench.weights import differences

CONFIG, WEIGHTS, ORIGIN = "open_clip_config.json", "open_clip_model.safetensors", "clip.json"
FULL_VOCABULARY = 49408
"""Tokens of open_clip's own tokenizer, CLIP's byte pairs."""


@dataclass(frozen=True)
class Origin:
    """Where a CLIP came from and what it has seen.

    Args:
        source: train, checkpoint or pretrained.
        name: the open_clip model's name, with its tag if it is a published one.
        weights_digest: sha256 of the weights as given (empty for a CLIP trained here).
        images_digest: of the image set it was trained on (empty for the others).
        saw_labels: whether it was trained on this image set's labels.
        saw_annotations: whether it was trained on this image set's annotations.
        concepts: what its captions could mention; empty where that isn't known.
        unmeasured: concepts that no annotation measures, which it was therefore never taught.
    """

    source: str
    name: str
    weights_digest: str = ""
    images_digest: str = ""
    saw_labels: bool = False
    saw_annotations: bool = False
    concepts: list[str] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)

    def candidates(self, concepts: Sequence[str]) -> tuple[list[str], list[str]]:
        """Splits a concept set into what the model can rank and what it was never taught.

        A published model may know any text; one trained here knows what its captions mentioned.
        """
        if self.source != "train":
            return list(concepts), []
        known = set(self.concepts)
        return [name for name in concepts if name in known], [name for name in concepts if name not in known]


@dataclass(frozen=True)
class ClipModel:
    """A CLIP ready for embedding, in evaluation mode; ``config`` and ``preprocess`` in open_clip's form."""

    model: torch.nn.Module
    tokenizer: Any
    config: Mapping[str, Any]
    preprocess: Mapping[str, Any]
    origin: Origin
    device: str

    def inputs(self, pictures: torch.Tensor) -> torch.Tensor:
        """Grey pictures (images, 1, height, width) in [0, 1] to the image tower's input (images, 3, size, size)."""
        return to_inputs(pictures, self.preprocess).to(self.device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def embed_images(self, images: np.ndarray, batch_size: int = 256, out: np.ndarray | None = None) -> np.ndarray:
        """Embeds pictures uint8 (images, 48, 48) as unit vectors float32 (images, dim).

        Args:
            images: the pictures; may be memory-mapped.
            batch_size: images a forward pass.
            out: where the vectors go, e.g. a mapped file; None for a new array.
        """
        for start in progress(range(0, len(images), batch_size), desc="embed images", unit="batch"):
            pictures = torch.from_numpy(images[start : start + batch_size].astype(np.float32)).div_(255)[:, None]
            vectors = self.model.encode_image(self.inputs(pictures), normalize=True).float().cpu().numpy()
            if out is None:
                out = np.empty((len(images), vectors.shape[1]), np.float32)
            out[start : start + len(vectors)] = vectors
        return out

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str], prompts: Sequence[str] = ("{}",)) -> np.ndarray:
        """Embeds each text as the mean, made a unit vector again, of its embeddings in all prompts.

        Args:
            texts: the texts, e.g. concepts.
            prompts: templates in which ``{}`` stands for the text.

        Returns:
            Unit vectors float32 (texts, dim).
        """
        total = 0.0
        for prompt in prompts:
            tokens = self.tokenizer([prompt.replace("{}", text) for text in texts]).to(self.device)
            total = total + self.model.encode_text(tokens, normalize=True).float()
        return F.normalize(total, dim=-1).cpu().numpy()


def to_inputs(pictures: torch.Tensor, preprocess: Mapping[str, Any]) -> torch.Tensor:
    """Resizes grey pictures (images, 1, height, width) in [0, 1], makes them three channels and normalises those.

    FER2013's pictures are square, so open_clip's ways to treat the other side are all the same here.
    """
    size = preprocess["size"]
    height, width = (size, size) if isinstance(size, int) else size
    if pictures.shape[-2:] != (height, width):
        pictures = F.interpolate(
            pictures, (height, width), mode=preprocess["interpolation"], antialias=True, align_corners=False
        ).clamp_(0, 1)
    mean, std = (torch.tensor(preprocess[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (pictures - mean) / std


def preprocessing(
    size: Any, mean: Sequence[float], std: Sequence[float], interpolation: str = "bicubic"
) -> dict[str, Any]:
    """A ``preprocess_cfg`` in open_clip's form."""
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise UserError(
            f"params: clip.image_mean is {list(mean)}, clip.image_std {list(std)}; "
            "expected three numbers each (one a colour channel), std above 0"
        )
    return {
        "size": size,
        "mode": "RGB",
        "mean": list(mean),
        "std": list(std),
        "interpolation": interpolation,
        "resize_mode": "shortest",
        "fill_color": 0,
    }


def build(config: Mapping[str, Any]) -> torch.nn.Module:
    """An open_clip model with random weights from its ``model_cfg``.

    Raises:
        UserError: the config is of another form, or needs files from the model hub.
    """
    config = dict(config)
    if "hf_model_name" in config.get("text_cfg", {}) or "hf_tokenizer_name" in config.get("text_cfg", {}):
        raise UserError("clip: this model's text side needs files from a model hub; expected one with CLIP's tokenizer")
    custom = config.pop("custom_text", False)
    kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    try:
        return kind(**config)
    except (TypeError, KeyError, AttributeError, AssertionError) as error:
        raise UserError(f"clip: not an open_clip model config ({type(error).__name__}: {error})") from None


def save_clip(folder: Path, clip: ClipModel) -> None:
    """Writes a CLIP into an existing, empty folder."""
    write_json(folder / CONFIG, {"model_cfg": dict(clip.config), "preprocess_cfg": dict(clip.preprocess)})
    # Cloned: safetensors refuses tensors that share memory.
    state = {name: value.detach().cpu().contiguous().clone() for name, value in clip.model.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    write_json(folder / ORIGIN, asdict(clip.origin))


def load_clip(folder: Path, device: str = "cpu") -> ClipModel:
    """Loads what ``save_clip`` wrote.

    Raises:
        UserError: a file is missing or not of its form, or the weights don't fit the config.
    """
    for name in (CONFIG, WEIGHTS, ORIGIN):
        if not (folder / name).is_file():
            raise UserError(f"no {folder / name}; run the stage 'clip' first (dvc repro clip)")
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config, preprocess = content["model_cfg"], content["preprocess_cfg"]
        origin = Origin(**json.loads((folder / ORIGIN).read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: not written by the stage 'clip' ({error}); run it again") from None
    model = build(config)
    load_weights(model, load_file(folder / WEIGHTS), folder / WEIGHTS)
    return ready(model, config, preprocess, origin, device)


def ready(
    model: torch.nn.Module, config: Mapping[str, Any], preprocess: Mapping[str, Any], origin: Origin, device: str
) -> ClipModel:
    """Wraps a model for embedding, in evaluation mode, with the tokenizer of its context length."""
    tokenizer = open_clip.SimpleTokenizer(context_length=config["text_cfg"].get("context_length", 77))
    model = model.eval().to(device, memory_format=torch.channels_last)
    return ClipModel(model, tokenizer, config, preprocess, origin, device)


def load_weights(model: torch.nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Fills a model with weights (half precision is widened).

    Raises:
        UserError: keys or shapes differ or values are not finite; which ones is said.
    """
    if found := differences(state, model.state_dict()):
        raise UserError(f"{path} doesn't fit the CLIP named in params: {found}")
    model.load_state_dict(state)
