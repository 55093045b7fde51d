"""What the stage edit left on disk, read so that every row belongs to its configuration and every column to its image.

``prediction_ids.json`` says what the rows and columns of ``predictions.npy`` and ``family_logits.npy`` are, and holds
their digests; ``configs.parquet`` has a row a configuration and image set, and its accuracies are those of the
predictions.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emobench.errors import UserError
from emobench.faces.imageset import ImageSet
from emobench.stored import array_digest, read_array, read_json, unusable
from emobench.stored_tables import read_table

IDS = "prediction_ids.json"


@dataclass(frozen=True)
class PredictionIds:
    """``prediction_ids.json``.

    Attributes:
        config_ids: of the predictions' rows.
        image_rows: of the predictions' columns: row numbers in the image set, ascending.
        logit_ids: of the logits: the baseline and the judged edits.
        evaluated: how many configurations were looked at in all.
        images_digest: of the image set; empty where it isn't noted.
        digests: of the arrays by their names; those of earlier versions have none.
    """

    config_ids: list[str]
    image_rows: list[int]
    logit_ids: list[str] = field(default_factory=list)
    evaluated: int = 0
    images_digest: str = ""
    digests: dict[str, str] = field(default_factory=dict)


def noted_digests(
    config_ids: list[str], rows: list[int], predictions: np.ndarray, logit_ids: list[str], logits: np.ndarray
) -> dict[str, str]:
    """The digests that stand in ``prediction_ids.json``."""
    return {
        "predictions.npy": array_digest(predictions, [config_ids, rows]),
        "family_logits.npy": array_digest(logits, [logit_ids, rows]),
    }


def read_ids(folder: Path, imageset: ImageSet) -> PredictionIds:
    """Reads ``prediction_ids.json``.

    Raises:
        UserError: it is missing, not such a file, or of another image set.
    """
    path = folder / IDS
    ids = read_json(path, "edit", PredictionIds)
    if ids.images_digest not in ("", imageset.digest()):
        raise UserError(f"{folder / 'predictions.npy'} belongs to another image set; run dvc repro edit")
    rows = np.array(ids.image_rows, dtype=np.int64)
    ascending = len(rows) and rows[0] >= 0 and rows[-1] < len(imageset.index) and (np.diff(rows) > 0).all()
    if not ascending or any(len(set(names)) < len(names) for names in (ids.config_ids, ids.logit_ids)):
        raise unusable(path, "image_rows don't ascend within the image set, or a configuration stands twice", "edit")
    wanted = imageset.evaluation_rows()["val_test"]
    if not np.isin(wanted, rows).all():
        raise unusable(path, "image_rows lack images of val or test", "edit")
    return ids


def read_predictions(folder: Path, ids: PredictionIds) -> np.ndarray:
    """Predicted classes uint8 (configurations, images), mapped; rows and columns as ``ids`` says."""
    return read_array(
        folder / "predictions.npy", "edit", dtype="uint8", shape=(len(ids.config_ids), len(ids.image_rows)),
        digest=ids.digests.get("predictions.npy"), key=[ids.config_ids, ids.image_rows], note=IDS,
    )  # fmt: skip


def read_logits(folder: Path, ids: PredictionIds, classes: int) -> np.ndarray:
    """Logits float32 (members, images, classes), mapped, of the baseline and the judged edits."""
    return read_array(
        folder / "family_logits.npy", "edit", dtype="float32", shape=(len(ids.logit_ids), len(ids.image_rows), classes),
        digest=ids.digests.get("family_logits.npy"), key=[ids.logit_ids, ids.image_rows], note=IDS,
        finite=True,
    )  # fmt: skip


def read_configs(folder: Path, imageset: ImageSet, ids: PredictionIds, predictions: np.ndarray) -> pd.DataFrame:
    """Reads ``configs.parquet`` in the order of ``ids``, each configuration on every image set that has images.

    Raises:
        UserError: it is missing, not such a table, or not of these predictions.
    """
    path, sets = folder / "configs.parquet", imageset.evaluation_rows()
    configs = read_table(path, made_from={"images": imageset.digest()})
    if not (configs["arm"] == "baseline").any():
        raise unusable(path, "it has no baseline", "edit")
    if not ids.digests:
        return configs
    known, order = pd.Index(ids.config_ids), pd.Index(list(sets))
    places, names = known.get_indexer(configs["config_id"]), order.get_indexer(configs["images"])
    measured = [name for name, rows in sets.items() if len(rows)]
    if (places < 0).any() or len(configs) != len(known) * len(measured) or not configs["images"].isin(measured).all():
        raise unusable(path, f"its rows are not those of {IDS}", "edit")
    sorting = np.lexsort((names, places))
    configs, places = configs.iloc[sorting].reset_index(drop=True), places[sorting]
    rows = np.array(ids.image_rows)
    for name in measured:
        at = np.searchsorted(rows, sets[name])
        right = (predictions[:, at] == imageset.labels[sets[name]]).mean(axis=1)
        here = (configs["images"] == name).to_numpy()
        if not np.allclose(configs["accuracy"].to_numpy(float)[here], right[places[here]], atol=1e-9):
            raise unusable(path, f"its accuracies on {name} are not those of predictions.npy", "edit")
    return configs


def as_json(ids: PredictionIds) -> dict[str, Any]:
    """For ``prediction_ids.json``."""
    return dict(vars(ids))
