"""Stage network: trains the network, or takes given weights, and measures it."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from emobench.device import pick_device, pick_precision
from emobench.errors import UserError
from emobench.faces.class_order import check_class_order
from emobench.faces.imageset import ImageSet, load_imageset
from emobench.files import write_csv, write_json
from emobench.functional.classification import classification_metrics
from emobench.layout import Layout
from emobench.networks.asked import asked_network
from emobench.networks.sources import save_network, with_weights
from emobench.networks.training import Examples, Trainer
from emobench.params import Params
from emobench.settings.network import Precision, TrainedNetwork

HISTORY = ["epoch", "train_loss", "val_loss", "val_accuracy", "lr"]


def run(params: Params, layout: Layout) -> None:
    """Writes the network's folder, the training history, the metrics per image set, and actual against predicted."""
    imageset, device, asked = load_imageset(layout.data), pick_device(params.device), params.network
    network = asked_network(asked, imageset.classes, seed=params.seed, root=layout.root)
    history: list[dict[str, float]] = []
    precision: Precision = "float32"
    if isinstance(asked, TrainedNetwork):
        # The precision that is used, not the one asked for: a run begun on another machine may have had another one.
        precision = pick_precision(asked.train.precision, device)
        train = replace(asked.train, precision=precision)
        partial = layout.partial_for("network", network.card, train, params.seed, imageset.digest())
        trainer = Trainer(train, network, *_examples(imageset), seed=params.seed, device=device)
        state, history = trainer.fit(partial)
        network = with_weights(network, state)
        # Finished work must not be resumed: the code may have changed when the stage runs again.
        shutil.rmtree(partial, ignore_errors=True)
    rows = imageset.evaluation_rows()["val_test"]
    network = network.to(device)
    network.channels_last()
    logits, labels = network.logits(imageset.images, rows), torch.from_numpy(imageset.labels[rows])
    check_class_order(logits, labels, imageset.classes)
    save_network(network, layout.models / "network")
    known = {"limited": int(params.data.limit > 0), "precision": precision}
    write_json(layout.reports / "network.json", known | _measured(imageset, rows, logits))
    write_csv(layout.reports / "history.csv", pd.DataFrame(history, columns=HISTORY))
    named = {"actual": labels, "predicted": logits.argmax(1)}
    names = {column: [imageset.classes[place] for place in places] for column, places in named.items()}
    write_csv(layout.reports / "confusion.csv", pd.DataFrame(names))


def _examples(imageset: ImageSet) -> tuple[Examples, Examples]:
    """The kept train images, and the kept val images, which choose the epoch."""
    splits = {name: imageset.rows(name) for name in ("train", "val")}
    for name, rows in splits.items():
        if len(rows) < 2:
            raise UserError(f"network: {len(rows)} {name} images; expected at least 2")
    train, val = (Examples(imageset.images, imageset.labels, rows) for rows in splits.values())
    return train, val


def _measured(imageset: ImageSet, rows: np.ndarray, logits: torch.Tensor) -> dict[str, dict]:
    """The metrics on each image set, from the logits of some rows."""
    labels = torch.from_numpy(imageset.labels[rows])
    return {
        name: {"images": len(chosen)} | classification_metrics(logits[at], labels[at], imageset.classes)
        for name, chosen in imageset.evaluation_rows().items()
        if len(at := np.searchsorted(rows, chosen))
    }
