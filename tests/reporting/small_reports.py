"""The small report files of a benchmark, and the predictions beside them, from answers that a test chooses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from emobench.vocabulary.class_names import BASIC

VAL, TEST, REMOVED, LEAKS = 30, 70, 2, 10
CHOSEN, PAPER = "lin2-weight_norm-f2.00", "lin2-similarity-f1.50"
NETWORKS = {"baseline": "baseline", "chosen": CHOSEN, "paper": PAPER}


def index() -> pd.DataFrame:
    """5 train, then VAL and TEST images; the last ones of test are removed, its first ones leak."""
    split = np.repeat(["train", "val", "test"], [5, VAL, TEST])
    count, number = len(split), np.arange(len(split))
    table = pd.DataFrame({"image_id": [f"small/{i}" for i in number], "label": number % 7, "split": split})
    blank = dict.fromkeys(["reason", "duplicate_of", "near_duplicate_of"])
    table = table.assign(**blank, conflict=False, status=np.where(number >= count - REMOVED, "removed", "kept"))
    return table.assign(leaks=(split == "test") & (number < 5 + VAL + LEAKS))


def image_sets() -> dict[str, np.ndarray]:
    """Positions of each image set among the val and test images."""
    number, test = np.arange(VAL + TEST), range(VAL, VAL + TEST - REMOVED)
    return {"val": number[:VAL], "test": number[test], "test_noleaks": number[test][LEAKS:], "val_test": number}


def answers(wrong: range | list[int]) -> np.ndarray:
    """Predictions for all val and test images that are right but for the given test images."""
    preds = index()["label"].to_numpy()[5:].copy()
    at = VAL + np.array(list(wrong), dtype=int)
    preds[at] = (preds[at] + 1) % 7
    return preds.astype(np.uint8)


def write_benchmark(
    root: Path, name: str, preds: dict[str, np.ndarray], *, digest: str = "d", limited: int = 0
) -> Path:
    """Writes reports, artifacts and index below root; ``preds``: baseline, and chosen and paper if wanted."""
    reports, artifacts, data = (root / part / name for part in ("reports", "artifacts", "data"))
    for folder in (reports, artifacts, data):
        folder.mkdir(parents=True, exist_ok=True)
    labels = index()["label"].to_numpy()[5:]
    right = {key: {images: (one == labels)[at] for images, at in image_sets().items()} for key, one in preds.items()}
    accuracy = {key: {images: one.mean() for images, one in sets.items()} for key, sets in right.items()}
    base = {images: {"images": len(right["baseline"][images]), "accuracy": value, "nll": 2 - value}
            for images, value in accuracy["baseline"].items()}  # fmt: skip
    _json(reports / "network.json", {"limited": limited, **base})
    edits = {f"{key}_edit": {"config_id": NETWORKS[key], **accuracy[key]} for key in preds if key != "baseline"}
    _json(reports / "compare.json", {"limited": limited, "baseline": accuracy["baseline"], **edits})
    _json(reports / "clip.json", {"mean_auroc": 0.9, "limited": limited})
    rows = [_config(key, images, value) for key in preds for images, value in accuracy[key].items()]
    pd.DataFrame(rows).to_csv(reports / "configs.csv", index=False, float_format="%.6g")
    ids = {"config_ids": [NETWORKS[key] for key in preds], "image_rows": list(range(5, 5 + VAL + TEST))}
    _json(artifacts / "prediction_ids.json", ids | {"images_digest": digest})
    np.save(artifacts / "predictions.npy", np.array(list(preds.values())))
    index().to_parquet(data / "index.parquet", index=False)
    return reports


def write_verdicts(reports: Path, rows: list[dict]) -> None:
    """Writes verdicts.csv; what a row lacks is filled."""
    usual = {"arm": "x", "selected_on": "val", "images": "test", "holm_p": 1.0, "verdict": "no evidence"}
    usual |= {"delta_accuracy": 0.01, "ci_low_accuracy": -0.02, "ci_high_accuracy": 0.03}
    pd.DataFrame([usual | row for row in rows]).to_csv(reports / "verdicts.csv", index=False)


def _config(key: str, images: str, accuracy: float) -> dict:
    settings = {"baseline": ("baseline", np.nan, np.nan), "chosen": ("weight_norm", np.nan, 2.0)}
    arm, tau, factor = settings.get(key, ("similarity", 0.0, 1.5))
    row = {"config_id": NETWORKS[key], "images": images, "arm": arm, "layer": "lin2", "tau": tau, "factor": factor}
    metrics = {"accuracy": accuracy, "nll": 2 - accuracy, "temperature": 1.1}
    recalls = dict.fromkeys([f"recall_{name}" for name in BASIC], accuracy)
    return row | {"control_of": None, "n_up": 3, "status": "ok"} | metrics | recalls


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))
