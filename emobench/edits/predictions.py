"""What networks answered on the images of a benchmark, with what is needed to compare them image by image.

A benchmark keeps it as ``predictions.npy`` and ``prediction_ids.json``; the labels come from the image set's index,
or stand in the json of an MLflow run, which has no image set beside it.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from emobench.errors import UserError
from emobench.faces.imageset import ImageSet
from emobench.stored import array_digest
from emobench.vocabulary.class_names import BASIC

FILES = ("predictions.npy", "prediction_ids.json")


@dataclass(frozen=True)
class Answers:
    """Predictions uint8 (configs, images), labels int64 (images,), and the images' row numbers in their image set.

    ``positions``: image set -> positions among these images; ``digest`` tells one image set from another; ``classes``:
    what labels and predictions stand for, FER2013's where an earlier version's results don't tell.
    """

    config_ids: list[str]
    preds: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    positions: dict[str, np.ndarray]
    digest: str
    classes: tuple[str, ...] = BASIC

    def of(self, config_id: str, images: str) -> tuple[np.ndarray, np.ndarray]:
        """Predictions and labels int64 (images,) of one configuration on one image set."""
        at = self.positions[images]
        return self.preds[self.config_ids.index(config_id)][at].astype(np.int64), self.labels[at]

    def same_images(self, other: "Answers", images: str) -> bool:
        """Whether an image set holds the very same images in both."""
        if self.digest != other.digest or not {images} <= self.positions.keys() & other.positions.keys():
            return False
        return np.array_equal(self.rows[self.positions[images]], other.rows[other.positions[images]])


def of_benchmark(predictions: bytes, ids: bytes, index: bytes, card: bytes | None = None) -> Answers:
    """From the bytes of a benchmark's predictions.npy, prediction_ids.json, index.parquet and dataset.json."""
    content = json.loads(ids)
    imageset = ImageSet(np.empty((0, 48, 48), np.uint8), pd.read_parquet(io.BytesIO(index)))
    rows = np.array(content["image_rows"], dtype=np.int64)
    positions = {name: np.searchsorted(rows, chosen) for name, chosen in imageset.evaluation_rows().items()}
    preds = np.load(io.BytesIO(predictions), allow_pickle=False)
    noted = content.get("digests", {}).get("predictions.npy")
    if noted is not None and noted != array_digest(preds, [content["config_ids"], content["image_rows"]]):
        raise ValueError("predictions.npy is not the array that prediction_ids.json tells of")
    classes = tuple(json.loads(card)["classes"]) if card else BASIC
    digest = content["images_digest"]
    return Answers(content["config_ids"], preds, imageset.labels[rows], rows, positions, digest, classes)


def of_run(predictions: bytes, ids: bytes) -> tuple[Answers, dict[str, str]]:
    """From the bytes that an MLflow run keeps: the answers, and configurations by name (baseline, chosen, paper)."""
    content = json.loads(ids)
    labels, rows = (np.array(content[key], dtype=np.int64) for key in ("labels", "image_rows"))
    positions = {name: np.array(at, dtype=np.int64) for name, at in content["positions"].items()}
    preds = np.load(io.BytesIO(predictions), allow_pickle=False)
    digest, classes = content["images_digest"], tuple(content.get("classes", BASIC))
    return Answers(content["config_ids"], preds, labels, rows, positions, digest, classes), content["named"]


def readable(read: Callable[[], Answers], where: str) -> Answers:
    """Reads answers from files that somebody else may have written.

    Raises:
        UserError: they can't be read, or don't fit each other.
    """
    try:
        answers = read()
    except (ValueError, LookupError, TypeError, AttributeError, OSError, EOFError) as error:
        raise UserError(f"the predictions of {where} can't be read ({' '.join(str(error).split())})") from None
    if answers.preds.shape != (len(answers.config_ids), len(answers.labels)) or answers.preds.dtype != np.uint8:
        raise UserError(
            f"the predictions of {where} are {answers.preds.dtype} {answers.preds.shape}; "
            f"expected uint8 ({len(answers.config_ids)}, {len(answers.labels)})"
        )
    return answers


def agrees(answers: Answers, networks: Mapping[str, str], metrics: Mapping[str, float]) -> bool:
    """Whether reported accuracies (``<name>_<images>_accuracy``) are these answers', for all networks and image sets.

    Reports are text that git keeps, predictions are not: the two may come from different runs.
    """
    for name, config_id in networks.items():
        if config_id not in answers.config_ids:
            return False
        for images, at in answers.positions.items():
            reported = metrics.get("_".join(filter(None, [name, images, "accuracy"])))
            if reported is not None and len(at):
                preds, labels = answers.of(config_id, images)
                # Tables in git have 6 significant digits.
                if abs(float((preds == labels).mean()) - reported) > 1e-5:
                    return False
    return True
