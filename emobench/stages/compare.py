"""Stage compare: is the edit that did best on val better than the baseline, on images that did not choose it?"""

import numpy as np
import pandas as pd

from emobench.edits.contract import seal
from emobench.edits.cross_fitted import cross_fitted_verdict
from emobench.edits.family import PAPER_ARM
from emobench.edits.results_on_disk import read_configs, read_ids, read_logits, read_predictions
from emobench.edits.verdicts import Predictions, summary, verdicts
from emobench.faces.imageset import load_imageset
from emobench.files import write_csv, write_json, write_parquet
from emobench.layout import Layout
from emobench.params import Params
from emobench.seen import note

GIVEN = (
    "artifacts/{name}/configs.parquet", "artifacts/{name}/predictions.npy", "artifacts/{name}/prediction_ids.json",
    "artifacts/{name}/unit_effects.parquet", "artifacts/{name}/search.parquet",
    "models/{name}/edited.safetensors", "models/{name}/search_scales.safetensors",
)  # fmt: skip
"""What is noted for the stages that show it."""


def run(params: Params, layout: Layout) -> None:
    """Writes the verdicts, the metrics and the grid of the published arm."""
    imageset, folder = load_imageset(layout.data), layout.artifacts
    seal(params, layout, imageset)
    ids = read_ids(folder, imageset)
    rows, preds = np.array(ids.image_rows), read_predictions(folder, ids)
    logits = read_logits(folder, ids, len(imageset.classes))
    positions = {name: np.searchsorted(rows, chosen) for name, chosen in imageset.evaluation_rows().items()}
    labels = imageset.labels[rows]
    predictions = Predictions(ids.config_ids, preds, ids.logit_ids, logits, labels, positions, imageset.classes)
    configs = read_configs(folder, imageset, ids, preds)
    options = (params.compare, params.edit, params.seed)
    table = verdicts(configs, predictions, *options)
    folded = cross_fitted_verdict(configs, predictions, imageset.together()[rows], *options)
    table = pd.concat([table, folded], ignore_index=True) if len(folded) else table
    write_parquet(folder / "verdicts.parquet", table, {"images": imageset.digest()})
    metrics = {"limited": int(params.data.limit > 0), "evaluated": ids.evaluated, **summary(configs, table)}
    write_json(layout.reports / "compare.json", metrics)
    grid = configs.loc[configs["arm"] == PAPER_ARM, ["tau", "factor", "images", "accuracy"]]
    write_csv(layout.reports / "edit_grid.csv", grid)
    note(layout, "compare", GIVEN)
