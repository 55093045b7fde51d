"""Stage clip: trains the small CLIP, or takes a given one, and measures how well it ranks concepts on val."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd

from emobench.concepts.clip import load_clip, save_clip
from emobench.concepts.clip_sources import from_checkpoint, from_hub, train_clip
from emobench.concepts.ranking import rank_names
from emobench.device import pick_device, pick_precision
from emobench.faces.imageset import load_imageset
from emobench.files import file_digest, replacing, write_csv, write_json
from emobench.layout import Layout
from emobench.params import Params
from emobench.vocabulary import CLASSES


def run(params: Params, layout: Layout) -> None:
    """Writes the model's folder, the ranking of every annotated concept on kept val images, and the means."""
    imageset, device = load_imageset(layout.data), pick_device(params.device)
    path = layout.data / "annotations.parquet"
    annotations = pd.read_parquet(path).drop(columns="image_id")
    # The precision that is used, not the one asked for: a run begun on another machine may have had another one.
    trained = params.clip.source == "train"
    precision = pick_precision(params.clip.training.precision, device) if trained else "float32"
    settings = replace(params.clip, training=replace(params.clip.training, precision=precision))
    inputs = (settings, params.concept_sets, params.seed, imageset.digest(), file_digest(path))
    partial = layout.partial_for("clip", *inputs)
    if trained:
        clip = train_clip(replace(params, clip=settings), imageset, annotations, partial, device)
    else:
        clip = (from_checkpoint if params.clip.source == "checkpoint" else from_hub)(params.clip, device)
    with replacing(layout.models / "clip") as folder:
        folder.mkdir()
        save_clip(folder, clip)
    # Finished work must not be resumed: the code may have changed when the stage runs again.
    shutil.rmtree(partial, ignore_errors=True)
    clip, rows = load_clip(layout.models / "clip", device), imageset.rows("val")
    vectors = clip.embed_images(imageset.images[rows], params.clip.batch_size)
    concepts = rank_names(clip, vectors, annotations.iloc[rows], params.clip.prompts)
    emotions = pd.DataFrame(np.eye(len(CLASSES))[imageset.labels[rows]], columns=list(CLASSES))
    emotions = rank_names(clip, vectors, emotions, params.clip.prompts)
    write_csv(layout.reports / "clip_concepts.csv", concepts)
    means = {"mean_auroc": concepts["auroc"], "emotions_mean_auroc": emotions["auroc"]}
    metrics = {name: float(values.mean()) for name, values in means.items()}
    counts = {"concepts": int(concepts["auroc"].count()), "emotions": int(emotions["auroc"].count())}
    known = {"limited": int(params.data.limit > 0), "precision": precision}
    write_json(layout.reports / "clip.json", known | metrics | counts)
