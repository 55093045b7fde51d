"""How well plain cosines rank the images that show a concept above those that don't."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from emobench.concepts.captions import HIGH, LOW
from emobench.concepts.clip import ClipModel

MIN_POSITIVES = 50
"""A concept with fewer positive images is left out: its AUROC would be mostly noise."""


def rank_concepts(cosines: np.ndarray, scores: np.ndarray, names: list[str] | None = None) -> pd.DataFrame:
    """AUROC of each concept's cosines: images that score at least HIGH against those at most LOW; the rest is left out.

    Args:
        cosines: (images, concepts) float.
        scores: (images, concepts) float in [0, 1], NaN where not measured.
        names: of the concepts; by default their numbers.

    Returns:
        A row a concept: ``concept, positives, negatives, auroc, note``. Where ``note`` says why a concept is left out,
        ``auroc`` is NaN.
    """
    rows = []
    for column in range(scores.shape[1]):
        positive, negative = scores[:, column] >= HIGH, scores[:, column] <= LOW
        row: dict[str, Any] = {
            "positives": int(positive.sum()),
            "negatives": int(negative.sum()),
            "auroc": np.nan,
            "note": "",
        }
        if np.isnan(scores[:, column]).all():
            row["note"] = "not measured"
        elif row["positives"] < MIN_POSITIVES or not row["negatives"]:
            row["note"] = f"fewer than {MIN_POSITIVES} positives" if row["negatives"] else "no negatives"
        else:
            used = positive | negative
            row["auroc"] = float(roc_auc_score(positive[used], cosines[used, column]))
        rows.append({"concept": names[column] if names else str(column)} | row)
    return pd.DataFrame(rows, columns=["concept", "positives", "negatives", "auroc", "note"])


def rank_names(clip: ClipModel, images: np.ndarray, scores: pd.DataFrame, prompts: list[str]) -> pd.DataFrame:
    """Ranks a model's cosines with the names of a table's columns, see ``rank_concepts``.

    A model trained here is not asked for what it was never taught: ``note`` says so.

    Args:
        clip: the model.
        images: unit vectors (images, dim) from ``clip.embed_images``.
        scores: (images, names) in [0, 1], NaN where not measured.
        prompts: templates in which ``{}`` stands for the name.
    """
    names = [str(name) for name in scores.columns]
    if not names:
        return rank_concepts(np.empty((len(images), 0)), np.empty((len(images), 0)), names)
    table = rank_concepts(images @ clip.embed_texts(names, prompts).T, scores.to_numpy(np.float64), names)
    unknown = table["concept"].isin(clip.origin.candidates(names)[1])
    table.loc[unknown, "auroc"] = np.nan
    table.loc[unknown & (table["note"] == ""), "note"] = "not taught"
    return table
