"""Stage compare: is the edit that did best on val better than the baseline, on images that did not choose it?"""

import json

import numpy as np
import pandas as pd

from emobench.edits.family import PAPER_ARM
from emobench.edits.verdicts import Predictions, summary, verdicts
from emobench.errors import UserError
from emobench.faces.imageset import load_imageset
from emobench.files import write_csv, write_json, write_parquet
from emobench.layout import Layout
from emobench.params import Params


def run(params: Params, layout: Layout) -> None:
    """Writes the verdicts, the metrics and the grid of the published arm."""
    imageset, folder = load_imageset(layout.data), layout.artifacts
    ids = json.loads((folder / "prediction_ids.json").read_text())
    if ids["images_digest"] != imageset.digest():
        raise UserError(f"{folder / 'predictions.npy'} belongs to another image set; run dvc repro edit")
    rows, files = np.array(ids["image_rows"]), ("predictions.npy", "family_logits.npy")
    preds, logits = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in files)
    positions = {name: np.searchsorted(rows, chosen) for name, chosen in imageset.evaluation_rows().items()}
    labels = imageset.labels[rows]
    predictions = Predictions(ids["config_ids"], preds, ids["logit_ids"], logits, labels, positions, imageset.classes)
    configs = pd.read_parquet(folder / "configs.parquet")
    table = verdicts(configs, predictions, params.compare, params.edit, params.seed)
    write_parquet(folder / "verdicts.parquet", table)
    metrics = {"limited": int(params.data.limit > 0), "evaluated": ids["evaluated"], **summary(configs, table)}
    write_json(layout.reports / "compare.json", metrics)
    grid = configs.loc[configs["arm"] == PAPER_ARM, ["tau", "factor", "images", "accuracy"]]
    write_csv(layout.reports / "edit_grid.csv", grid)
