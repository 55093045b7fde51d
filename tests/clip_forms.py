"""Random CLIPs in the forms in which they are published: OpenAI's archive, a folder as on a hub, bare weights."""

import json
import warnings
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from emobench.concepts.openai_archive import NUMBERS, OPENAI_MEAN, OPENAI_STD

OPENAI_TINY = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}
OPENAI_TINY_RESNET = OPENAI_TINY | {"vision_cfg": {"image_size": 32, "layers": [1, 2, 1, 1], "width": 8}}


def random_model(config: dict, seed: int = 0) -> torch.nn.Module:
    """An open_clip model of a config, with weights that open_clip itself draws."""
    config = dict(config)
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(**config).eval()


def half(model: torch.nn.Module) -> torch.nn.Module:
    """The same with its weights rounded to half precision, as OpenAI publishes them, in float32."""
    for value in (*model.parameters(), *model.buffers()):
        value.data = value.data.half().to(value.dtype) if value.is_floating_point() else value.data
    return model


def write_openai_archive(path: Path, model: torch.nn.Module) -> Path:
    """A TorchScript archive with OpenAI's names, its weights in half precision, and OpenAI's three numbers."""
    size = torch.tensor(model.visual.image_size).flatten()[0].item()
    length, kept = model.positional_embedding.shape[0], {name: vars(model).pop(name, None) for name in NUMBERS}
    for name in NUMBERS:
        model.register_buffer(name, torch.tensor({"input_resolution": size, "context_length": length}.get(name, 49408)))
    # In OpenAI's archives the mask is a constant of the program, no buffer.
    mask = model._buffers.pop("attn_mask")
    model.attn_mask = mask
    images, texts = torch.ones(1, 3, size, size), torch.zeros(1, length, dtype=torch.int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = {"encode_image": (images,), "encode_text": (texts,)}
        traced = torch.jit.trace_module(model, inputs, check_trace=False)
        torch.jit.save(traced.half(), path)
    del model.attn_mask
    model.register_buffer("attn_mask", mask, persistent=False)
    for name in NUMBERS:
        delattr(model, name)
        vars(model).update({name: kept[name]} if kept[name] is not None else {})
    return path


def write_hub_folder(folder: Path, model: torch.nn.Module, config: dict, *, weights: str = "", **preprocess) -> Path:
    """A folder as open_clip pushes it to a hub."""
    folder.mkdir()
    known = {"mean": list(OPENAI_MEAN), "std": list(OPENAI_STD)} | preprocess
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": known}))
    if weights.endswith((".bin", ".pt")):
        torch.save(model.state_dict(), folder / weights)
    else:
        save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder
