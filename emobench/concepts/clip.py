"""The one adapter on open_clip: a folder with a model, its preprocessing and where it came from; embeddings out.

The folder holds ``open_clip_config.json`` and ``open_clip_model.safetensors`` (open_clip itself reads them as
``local-dir:FOLDER``) and ``clip.json``, what is known about the model's origin (see ``Origin``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from emobench.concepts.clip_config import FOREIGN, INTERPOLATIONS, are_colours, read_config
from emobench.concepts.tokenizing import Tokenizer, tokenizer_of
from emobench.errors import UserError
from emobench.faces.scaling import unit_range
from emobench.files import file_digest, readable, write_sealed
from emobench.progress import progress
from emobench.stored import read_json, reading, unusable
from emobench.weights import differences, read_state

CONFIG, WEIGHTS, ORIGIN = "open_clip_config.json", "open_clip_model.safetensors", "clip.json"
WRITTEN = "written_sha256"  # in ORIGIN: of the weights as they were written
FULL_VOCABULARY = 49408
"""Tokens of open_clip's own tokenizer, CLIP's byte pairs."""
TEXTS = 256
"""Texts a forward pass: a long list must not fill the memory."""


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
        unmeasured: annotated concepts and classes that it was never taught, because none or all images show them.
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

    model: Any
    tokenizer: Tokenizer
    config: Mapping[str, Any]
    preprocess: Mapping[str, Any]
    origin: Origin
    device: str

    def inputs(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (images, 1 or 3, height, width) in [0, 1] to the image tower's input (images, 3, size, size)."""
        return to_inputs(pictures, self.preprocess).to(self.device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def embed_batch(self, images: np.ndarray) -> np.ndarray:
        """Embeds pictures uint8 (images, height, width) or (images, height, width, 3), all in one forward pass."""
        vectors = self.model.encode_image(self.inputs(unit_range(images)), normalize=True)
        return vectors.float().cpu().numpy()

    def embed_images(self, images: np.ndarray, batch_size: int = 256, rows: np.ndarray | None = None) -> np.ndarray:
        """Embeds pictures as unit vectors float32 (images, dim).

        Args:
            images: uint8 (n, height, width) or (n, height, width, 3); may be memory-mapped.
            batch_size: images a forward pass.
            rows: which of them, in this order; None for all.
        """
        count = len(images) if rows is None else len(rows)
        vectors = np.empty((count, self.config["embed_dim"]), np.float32)
        for start in progress(range(0, count, batch_size), desc="embed images", unit="batch"):
            part = slice(start, start + batch_size)
            vectors[part] = self.embed_batch(images[part] if rows is None else images[rows[part]])
        return vectors

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str], prompts: Sequence[str] = ("{}",)) -> np.ndarray:
        """Embeds each text as the mean, made a unit vector again, of its embeddings in all prompts.

        Args:
            texts: the texts, e.g. concepts.
            prompts: templates in which ``{}`` stands for the text.

        Returns:
            Unit vectors float32 (texts, dim).
        """
        parts = [np.empty((0, self.config["embed_dim"]), np.float32)]
        for start in range(0, len(texts), TEXTS):
            total = torch.zeros(())
            for prompt in prompts:
                said = [prompt.replace("{}", text) for text in texts[start : start + TEXTS]]
                vectors = self.model.encode_text(self.tokenizer(said).to(self.device), normalize=True)
                total = total.to(vectors.device) + vectors.float()
            parts.append(F.normalize(total, dim=-1).cpu().numpy())
        return np.concatenate(parts)


def to_inputs(pictures: torch.Tensor, preprocess: Mapping[str, Any]) -> torch.Tensor:
    """Resizes pictures (images, 1 or 3, height, width) in [0, 1], makes them three channels and normalises those.

    Stored pictures are square, and so are a CLIP's inputs (:func:`preprocessing` sees to it), so that open_clip's ways
    to treat the other side are all the same here.
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
    """A ``preprocess_cfg`` in open_clip's form.

    Raises:
        UserError: not three colours, a size that is no square, or an interpolation that open_clip hasn't.
    """
    if not are_colours(mean, std):
        raise UserError(
            f"params: clip.image_mean is {list(mean)}, clip.image_std {list(std)}; "
            "expected three numbers each (one a colour channel), std above 0"
        )
    sides = [size] if isinstance(size, int) else list(size)
    if len(set(sides)) != 1 or interpolation not in INTERPOLATIONS:
        raise UserError(
            f"clip: takes pictures of size {size} by {interpolation} interpolation; expected a square size and one of "
            f"{', '.join(INTERPOLATIONS)}"
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
    text, vision = dict(config.get("text_cfg") or {}), dict(config.get("vision_cfg") or {})
    if "hf_model_name" in text:
        raise UserError("clip: this model's text side is built from files on a model hub; expected one of open_clip's")
    if "timm_model_name" in vision:
        # timm would fetch weights that are replaced anyway.
        config["vision_cfg"] = vision | {"timm_model_pretrained": False}
    custom = config.pop("custom_text", False)
    kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    try:
        return kind(**config)
    except (TypeError, KeyError, AttributeError, AssertionError, RuntimeError, ValueError) as error:
        raise UserError(f"clip: not an open_clip model config ({type(error).__name__}: {error})") from None


def save_clip(folder: Path, clip: ClipModel) -> None:
    """Writes a CLIP into an existing, empty folder."""
    write_sealed(folder / CONFIG, {"model_cfg": dict(clip.config), "preprocess_cfg": dict(clip.preprocess)})
    # Cloned: safetensors refuses tensors that share memory.
    state = {name: value.detach().cpu().contiguous().clone() for name, value in clip.model.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    readable(folder / WEIGHTS)
    write_sealed(folder / ORIGIN, asdict(clip.origin) | {WRITTEN: file_digest(folder / WEIGHTS)})
    for name, content in getattr(clip.tokenizer, "files", {}).items():
        (folder / name).write_bytes(content)


def load_clip(folder: Path | str, device: str = "cpu") -> ClipModel:
    """Loads what ``save_clip`` wrote.

    Raises:
        UserError: a file is missing or not of its form, or the weights don't fit the config.
    """
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS, ORIGIN):
        if not (folder / name).is_file():
            raise UserError(f"no {folder / name}; run the stage 'clip' first (dvc repro clip)")
    noted = read_json(folder / ORIGIN, "clip", called=FOREIGN)
    origin = read_json(folder / ORIGIN, "clip", Origin, FOREIGN)
    config, preprocess = read_config(folder / CONFIG)
    if noted.get(WRITTEN, digest := file_digest(folder / WEIGHTS)) != digest:
        raise unusable(folder / WEIGHTS, f"{ORIGIN} tells of other weights", "clip")
    state = read_state(folder / WEIGHTS, "state_dict")
    with reading(folder / CONFIG, "clip", FOREIGN):
        model = build(config)
        load_weights(model, state, folder / WEIGHTS)
        return ready(model, config, preprocess, origin, device, folder)


def ready(
    model: torch.nn.Module, config: Mapping[str, Any], preprocess: Mapping[str, Any], origin: Origin, device: str,
    folder: Path | None = None,
) -> ClipModel:  # fmt: skip
    """Wraps a model for embedding, in evaluation mode, with its tokenizer, whose own files lie in ``folder``."""
    tokenizer = tokenizer_of(config["text_cfg"], folder)
    model = model.eval().to(device).to(memory_format=torch.channels_last)
    return ClipModel(model, tokenizer, config, preprocess, origin, device)


def load_weights(model: torch.nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Fills a model with weights (half precision is widened).

    Raises:
        UserError: keys or shapes differ or values are not finite; which ones is said.
    """
    if found := differences(state, model.state_dict()):
        raise UserError(f"{path} doesn't fit the CLIP named in params: {found}")
    model.load_state_dict(state)
