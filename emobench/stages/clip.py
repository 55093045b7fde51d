"""Stage clip: trains the small CLIP, or takes a given one, and measures how well it ranks concepts on val."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd

from emobench.concepts.annotations import load_annotations
from emobench.concepts.clip import load_clip, save_clip
from emobench.concepts.clip_files import from_checkpoint
from emobench.concepts.clip_sources import from_hub, train_clip
from emobench.concepts.ranking import rank_names
from emobench.device import pick_device, pick_precision
from emobench.faces.imageset import load_imageset
from emobench.files import file_digest, replacing, write_csv, write_json
from emobench.layout import Layout
from emobench.params import Params
from emobench.settings.concepts import GivenClip, TrainedClip
from emobench.settings.network import Precision


def run(params: Params, layout: Layout) -> None:
    """Writes the model's folder, the ranking of every annotated concept on kept val images, and the means."""
    imageset, device = load_imageset(layout.data), pick_device(params.device)
    path = layout.data / "annotations.parquet"
    annotations = load_annotations(layout.data, imageset)
    # The precision that is used, not the one asked for: a run begun on another machine may have had another one.
    settings = params.clip
    precision: Precision = "float32"
    if isinstance(settings, TrainedClip):
        precision = pick_precision(settings.training.precision, device)
        settings = replace(settings, training=replace(settings.training, precision=precision))
    inputs = (settings, params.seed, imageset.digest(), imageset.classes, file_digest(path))
    partial = layout.partial_for("clip", *inputs)
    if isinstance(settings, TrainedClip):
        clip = train_clip(settings, imageset, annotations, partial, seed=params.seed, device=device)
    elif isinstance(settings, GivenClip):
        clip = from_checkpoint(settings, device, layout.root)
    else:
        clip = from_hub(settings, device)
    with replacing(layout.models / "clip") as folder:
        folder.mkdir()
        save_clip(folder, clip)
    # Finished work must not be resumed: the code may have changed when the stage runs again.
    shutil.rmtree(partial, ignore_errors=True)
    clip, rows = load_clip(layout.models / "clip", device), imageset.rows("val")
    vectors = clip.embed_images(imageset.images, params.clip.batch_size, rows)
    concepts = rank_names(clip, vectors, annotations.iloc[rows], params.clip.prompts)
    classes = imageset.classes
    emotions = pd.DataFrame(np.eye(len(classes))[imageset.labels[rows]], columns=list(classes))
    emotions = rank_names(clip, vectors, emotions, params.clip.prompts)
    write_csv(layout.reports / "clip_concepts.csv", concepts)
    means = {"mean_auroc": concepts["auroc"], "emotions_mean_auroc": emotions["auroc"]}
    metrics = {name: float(values.mean()) for name, values in means.items()}
    counts = {"concepts": int(concepts["auroc"].count()), "emotions": int(emotions["auroc"].count())}
    known = {"limited": int(params.data.limit > 0), "precision": precision}
    write_json(layout.reports / "clip.json", known | metrics | counts)
