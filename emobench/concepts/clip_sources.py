"""Where a CLIP comes from: trained here, or a published model and tag (for local files see clip_files)."""

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
from emobench.concepts.clip import ClipModel, Origin, build, preprocessing, ready
from emobench.concepts.tokenizing import tokenizer_of
from emobench.errors import UserError, unknown_name
from emobench.faces.imageset import ImageSet
from emobench.files import file_digest
from emobench.settings.concepts import ClipTraining, PublishedClip, TrainedClip


def train_clip(
    clip: TrainedClip, imageset: ImageSet, annotations: pd.DataFrame, checkpoints: Path, *, seed: int, device: str
) -> ClipModel:
    """Trains a CLIP on the kept train images without copies; the kept val images choose the epoch.

    Args:
        clip: section clip of params.yaml.
        imageset: the images, their labels and classes.
        annotations: (images, concepts) scores in [0, 1], NaN where not measured; the columns are the concepts.
        checkpoints: folder for interrupted work, see ``ClipTrainer.fit``.
        seed: decides on all that is random.
        device: where to train.

    Raises:
        UserError: too few images, or nothing that a caption could speak of.
    """
    settings = clip.training
    writer, train, val = _captioned(settings, imageset, annotations)
    preprocess = preprocessing([settings.image_size] * 2, clip.image_mean, clip.image_std)
    trainer = clip_training.ClipTrainer(settings, writer, train, val, preprocess, seed=seed, device=device)
    state, _ = trainer.fit(checkpoints)
    taught, names = [*writer.concepts, *writer.emotions], [*annotations.columns, *imageset.classes]
    origin = Origin(
        "train",
        "small open_clip ResNet",
        images_digest=imageset.digest(),
        saw_labels=bool(writer.emotions),
        saw_annotations=bool(writer.concepts),
        concepts=taught,
        unmeasured=[name for name in dict.fromkeys(names) if name not in taught],
    )
    config = clip_training.model_config(settings)
    model = build(config)
    model.load_state_dict(state)
    return ready(model, config, preprocess, origin, device)


def _captioned(
    settings: ClipTraining, imageset: ImageSet, annotations: pd.DataFrame
) -> tuple[CaptionWriter, clip_training.ScoredImages, clip_training.ScoredImages]:
    """What captions may speak of, and with their scores for it the train and the val images."""
    rows, val = imageset.probe_rows("train_unique"), imageset.rows("val")
    for name, chosen in (("train", rows), ("val", val)):
        if len(chosen) < 2:
            raise UserError(f"clip: {len(chosen)} {name} images; expected at least 2")
    emotions = imageset.classes if settings.emotion_captions else ()
    names, table = annotations.columns, annotations.to_numpy(np.float32)
    # Of a class the label tells, whatever else was measured.
    known = teachable(table[rows]) & ~names.isin(emotions)
    if known.sum() + len(emotions) < 2:
        raise UserError(
            "clip: nothing to train captions on: no concept is annotated and clip.training.emotion_captions is 0; "
            "expected annotations (annotate.source), or another clip.source"
        )
    scores = score_table(table[:, known], imageset.labels, len(emotions))
    writer = CaptionWriter(tuple(names[known]), emotions, settings.emotion_captions)
    train, held = (clip_training.ScoredImages(imageset.images, chosen, scores[chosen]) for chosen in (rows, val))
    return writer, train, held


def from_hub(clip: PublishedClip, device: str) -> ClipModel:
    """Fetches a published model, or takes it from the local cache of an earlier fetch.

    Args:
        clip: section clip of params.yaml.
        device: where the model goes.

    Raises:
        UserError: the hub isn't allowed, the model or its tag is unknown, the two don't belong together, or the
            weights can't be fetched.
    """
    config, published = _published(clip)
    # A model that can't be used here is refused before anything is fetched.
    tokenizer_of(config["text_cfg"], None)
    build(config)
    try:
        with _hub():
            path = Path(open_clip.download_pretrained(published))
            model = open_clip.create_model(clip.model, clip.tag, weights_only=True)
    except Exception as error:  # Hub, network, disk and file errors share no base class; all end the same way.
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"can't fetch {clip.model}/{clip.tag} from the model hub: {reason}") from None
    mean, std = list(published["mean"]), list(published["std"])
    preprocess = preprocessing(config["vision_cfg"].get("image_size", 224), mean, std, published["interpolation"])
    origin = Origin("pretrained", f"{clip.model}/{clip.tag}", weights_digest=file_digest(path))
    return ready(model, config, preprocess, origin, device)


def _published(clip: PublishedClip) -> tuple[dict[str, Any], dict[str, Any]]:
    """The config of the model and of its tag, if they may be fetched and belong together."""
    if not clip.allow_hub:
        raise UserError(
            "params: clip.source is pretrained, which fetches weights from a model hub, but clip.allow_hub is false; "
            "set it to true, or use clip.source checkpoint with a local file"
        )
    tags = {name: open_clip.list_pretrained_tags_by_model(name) for name, _ in open_clip.list_pretrained()}
    if clip.model not in tags:
        raise unknown_name("params: clip.model", clip.model, tags)
    if clip.tag not in tags[clip.model]:
        raise unknown_name(f"params: clip.tag of {clip.model}:", clip.tag, tags[clip.model])
    config, published = open_clip.get_model_config(clip.model), get_pretrained_cfg(clip.model, clip.tag)
    if bool(config.get("quick_gelu", False)) != bool(published.get("quick_gelu", False)):
        wanted = "with" if published.get("quick_gelu", False) else "without"
        raise UserError(
            f"params: clip.tag {clip.tag} was trained {wanted} quick GELU, clip.model {clip.model} is the other "
            f"kind; expected one of: {', '.join(_matching(clip.tag, bool(published.get('quick_gelu', False))))}"
        )
    return config, published


def _matching(tag: str, quick_gelu: bool) -> list[str]:
    """Published models that have the tag and the wanted activation."""
    names = open_clip.list_pretrained_models_by_tag(tag)
    return [
        name for name in names if bool((open_clip.get_model_config(name) or {}).get("quick_gelu", False)) == quick_gelu
    ]


@contextmanager
def _hub() -> Iterator[None]:
    """Allows look-ups on the hub inside the block; elsewhere they are off."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
