"""Stage baseline: trains the network, or takes given weights, and measures it."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from emobench.device import pick_device, pick_precision
from emobench.errors import UserError
from emobench.faces.imageset import ImageSet, load_imageset
from emobench.files import write_csv, write_json
from emobench.functional.classification import classification_metrics
from emobench.layout import Layout
from emobench.networks.loading import load_network, save_state
from emobench.networks.training import LabelledImages, Trainer, predict_logits
from emobench.params import Params
from emobench.settings.network import Baseline
from emobench.vocabulary import CLASSES

HISTORY = ["epoch", "train_loss", "val_loss", "val_accuracy", "lr"]


def run(params: Params, layout: Layout) -> None:
    """Writes the weights, the training history, the metrics per image set, and actual against predicted classes."""
    imageset, device = load_imageset(layout.data), pick_device(params.device)
    weights = layout.models / "baseline.safetensors"
    given = params.baseline.source == "weights"
    # The precision that is used, not the one asked for: a run begun on another machine may have had another one.
    precision = "float32" if given else pick_precision(params.baseline.precision, device)
    settings = replace(params.baseline, precision=precision)
    partial = layout.partial_for("baseline", settings, params.seed, imageset.digest())
    if given:
        state, history = load_network(settings.weights).model.state_dict(), []
    else:
        state, history = _trainer(settings, imageset, params.seed, device).fit(partial)
    save_state(state, weights)
    # Finished work must not be resumed: the code may have changed when the stage runs again.
    shutil.rmtree(partial, ignore_errors=True)
    sets = imageset.evaluation_rows()
    rows = sets["val_test"]
    logits = predict_logits(load_network(weights).model, imageset.images[rows], device=device)
    labels = torch.from_numpy(imageset.labels[rows])
    measured = {
        name: {"images": len(chosen)} | classification_metrics(logits[at], labels[at], CLASSES)
        for name, chosen in sets.items()
        if len(at := np.searchsorted(rows, chosen))
    }
    known = {"limited": int(params.data.limit > 0), "precision": precision}
    write_json(layout.reports / "baseline.json", known | measured)
    write_csv(layout.reports / "history.csv", pd.DataFrame(history, columns=HISTORY))
    named = {"actual": labels, "predicted": logits.argmax(1)}
    write_csv(layout.reports / "confusion.csv", pd.DataFrame({k: [CLASSES[i] for i in v] for k, v in named.items()}))


def _trainer(settings: Baseline, imageset: ImageSet, seed: int, device: str) -> Trainer:
    """A trainer on the kept train images; the kept val images choose the epoch."""
    train, val = imageset.rows("train"), imageset.rows("val")
    for name, rows in (("train", train), ("val", val)):
        if len(rows) < 2:
            raise UserError(f"baseline: {len(rows)} {name} images; expected at least 2")
    images, labels = imageset.images, imageset.labels
    return Trainer(
        settings,
        LabelledImages(images[train], labels[train]),
        LabelledImages(images[val], labels[val]),
        seed=seed,
        device=device,
    )
