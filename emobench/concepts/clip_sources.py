"""Where a CLIP comes from: trained here, a local weights file, or a published model and tag."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
from huggingface_hub import constants
from open_clip.pretrained import get_pretrained_cfg

from emobench.concepts import clip_training
from emobench.concepts.captions import CaptionWriter, score_table, teachable
from emobench.concepts.clip import ClipModel, Origin, build, load_weights, preprocessing, ready
from emobench.errors import UserError, unknown_name
from emobench.faces.imageset import ImageSet
from emobench.files import file_digest
from emobench.params import Params
from emobench.settings.concepts import Clip
from emobench.vocabulary import CLASSES, concept_set
from emobench.weights import read_state


def model_config(model: str) -> dict[str, Any]:
    """The ``model_cfg`` of an open_clip model name or of a config file (its path ends in .json).

    Raises:
        UserError: no such name or file, or a file of another form.
    """
    if not model.endswith(".json"):
        if model not in open_clip.list_models():
            raise unknown_name(
                "params: clip.model", model, [*open_clip.list_models(), "or the path of a .json model config"]
            )
        return open_clip.get_model_config(model)
    if not Path(model).is_file():
        raise UserError(f"params: clip.model is {model}, but there is no such file; expected an open_clip model config")
    try:
        content = json.loads(Path(model).read_text(encoding="utf-8"))
        config = content.get("model_cfg", content)
        if not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
            raise ValueError("it lacks embed_dim, vision_cfg or text_cfg")
    except (ValueError, AttributeError) as error:
        raise UserError(f"{model} is not an open_clip model config: {error}") from None
    return config


def train_clip(
    params: Params, imageset: ImageSet, annotations: pd.DataFrame, checkpoints: Path, device: str
) -> ClipModel:
    """Trains a CLIP on the kept train images without copies; the kept val images choose the epoch.

    Args:
        params: all of them; used are ``clip``, ``seed`` and, for the list of unmeasured concepts, ``concept_sets``.
        imageset: the images and their labels.
        annotations: (images, concepts) scores in [0, 1], NaN where not measured; the columns are the concepts.
        checkpoints: folder for interrupted work, see ``ClipTrainer.fit``.
        device: where to train.

    Raises:
        UserError: too few images, or nothing that a caption could speak of.
    """
    rows, val = imageset.probe_rows("train_unique"), imageset.rows("val")
    for name, chosen in (("train", rows), ("val", val)):
        if len(chosen) < 2:
            raise UserError(f"clip: {len(chosen)} {name} images; expected at least 2")
    settings = params.clip.training
    names, table = annotations.columns, annotations.to_numpy(np.float32)
    known = teachable(table[rows])
    emotions = CLASSES if settings.emotion_captions else ()
    if known.sum() + len(emotions) < 2:
        raise UserError(
            "clip: nothing to train captions on: no concept is annotated and clip.training.emotion_captions is 0; "
            "expected annotations (annotate.source), or another clip.source"
        )
    scores = score_table(table[:, known], imageset.labels, len(emotions))
    writer = CaptionWriter(tuple(names[known]), emotions, settings.emotion_captions)
    preprocess = preprocessing([settings.image_size] * 2, params.clip.image_mean, params.clip.image_std)
    parts = [clip_training.ScoredImages(imageset.images[chosen], scores[chosen]) for chosen in (rows, val)]
    trainer = clip_training.ClipTrainer(settings, writer, *parts, preprocess, seed=params.seed, device=device)
    state, _ = trainer.fit(checkpoints)
    taught = [*writer.concepts, *emotions]
    wanted = [*names, *(concept for name in params.concept_sets for concept in concept_set(name))]
    origin = Origin(
        "train",
        "small open_clip ResNet",
        images_digest=imageset.digest(),
        saw_labels=bool(emotions),
        saw_annotations=bool(known.any()),
        concepts=taught,
        unmeasured=[name for name in dict.fromkeys(wanted) if name not in taught],
    )
    config = clip_training.model_config(settings)
    model = build(config)
    model.load_state_dict(state)
    return ready(model, config, preprocess, origin, device)


def from_checkpoint(params: Clip, device: str) -> ClipModel:
    """Loads local weights into the model that params name.

    Args:
        params: uses ``weights``, ``model``, ``image_mean`` and ``image_std``.
        device: where the model goes.

    Raises:
        UserError: a file is missing or of another form, or the weights don't fit the model; OpenAI's weights without
            the quick GELU that they were trained with, which no shape gives away.
    """
    path, config = Path(params.weights), model_config(params.model)
    preprocess = preprocessing(config["vision_cfg"].get("image_size", 224), params.image_mean, params.image_std)
    # Training on several devices prefixes every name.
    state = {name.removeprefix("module."): value for name, value in read_state(path, "state_dict").items()}
    digest = file_digest(path)
    if ("openai" in path.name.lower() or digest in _openai_digests()) and not config.get("quick_gelu", False):
        raise UserError(
            f"{path} holds OpenAI's weights, which need quick GELU, but clip.model is {params.model}; "
            f"expected a config with it, e.g. ViT-B-16-quickgelu"
        )
    model = build(config)
    load_weights(model, state, path)
    origin = Origin("checkpoint", params.model, weights_digest=digest)
    return ready(model, config, preprocess, origin, device)


def from_hub(params: Clip, device: str) -> ClipModel:
    """Fetches a published model, or takes it from the local cache of an earlier fetch.

    Args:
        params: uses ``model``, ``tag`` and ``allow_hub``.
        device: where the model goes.

    Raises:
        UserError: the hub isn't allowed, the model or its tag is unknown, the two don't belong together, or the
            weights can't be fetched.
    """
    if not params.allow_hub:
        raise UserError(
            "params: clip.source is pretrained, which fetches weights from a model hub, but clip.allow_hub is false; "
            "set it to true, or use clip.source checkpoint with a local file"
        )
    tags = {name: open_clip.list_pretrained_tags_by_model(name) for name, _ in open_clip.list_pretrained()}
    if params.model not in tags:
        raise unknown_name("params: clip.model", params.model, tags)
    if params.tag not in tags[params.model]:
        raise unknown_name(f"params: clip.tag of {params.model}:", params.tag, tags[params.model])
    config, published = open_clip.get_model_config(params.model), get_pretrained_cfg(params.model, params.tag)
    if bool(config.get("quick_gelu", False)) != bool(published.get("quick_gelu", False)):
        wanted = "with" if published.get("quick_gelu", False) else "without"
        raise UserError(
            f"params: clip.tag {params.tag} was trained {wanted} quick GELU, clip.model {params.model} is the other "
            f"kind; expected one of: {', '.join(_matching(params.tag, bool(published.get('quick_gelu', False))))}"
        )
    build(config)  # A model that can't be built here is refused before anything is fetched.
    try:
        with _hub():
            path = Path(open_clip.download_pretrained(published))
            model = open_clip.create_model(params.model, params.tag, weights_only=True)
    except Exception as error:  # Hub, network, disk and file errors share no base class; all end the same way.
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"can't fetch {params.model}/{params.tag} from the model hub: {reason}") from None
    mean, std = list(published["mean"]), list(published["std"])
    preprocess = preprocessing(config["vision_cfg"].get("image_size", 224), mean, std, published["interpolation"])
    origin = Origin("pretrained", f"{params.model}/{params.tag}", weights_digest=file_digest(path))
    return ready(model, config, preprocess, origin, device)


def _matching(tag: str, quick_gelu: bool) -> list[str]:
    """Published models that have the tag and the wanted activation."""
    names = open_clip.list_pretrained_models_by_tag(tag)
    return [
        name for name in names if bool((open_clip.get_model_config(name) or {}).get("quick_gelu", False)) == quick_gelu
    ]


def _openai_digests() -> set[str]:
    """sha256 of the files OpenAI published, as open_clip lists them."""
    urls = [
        get_pretrained_cfg(name, tag).get("url", "") for name, tag in open_clip.list_pretrained() if tag == "openai"
    ]
    return {url.split("/")[-2] for url in urls if "/" in url}


@contextmanager
def _hub() -> Iterator[None]:
    """Allows look-ups on the hub inside the block; elsewhere they are off."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
