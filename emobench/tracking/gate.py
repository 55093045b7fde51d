"""Registered networks evaluated by MLflow itself, and a threshold that a candidate must hold against the baseline.

A second gate beside ``emobench diff``: that one compares benchmarks image by image; this one takes any version in the
registry and any labelled pictures, and stands in MLflow's own terms (``mlflow.models.evaluate``), as its users know it.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from emobench.errors import UserError
from emobench.tracking.tracker import MlflowException  # first: it says how mlflow shall be imported

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow
    from mlflow.models import MetricThreshold
    from mlflow.models.evaluation import EvaluationResult
    from mlflow.models.evaluation.validation import ModelValidationFailedException

ACCURACY = "accuracy_score"
"""The accuracy among the metrics of MLflow's classifier evaluator."""
ONLY_NUMBERS = {"log_explainer": False, "log_model_explainability": False}


def evaluate(model_uri: str, pictures: np.ndarray, labels: np.ndarray) -> EvaluationResult:
    """Evaluates a registered network as a classifier, in the active run or one of its own.

    Args:
        model_uri: such as ``models:/demo@champion``, in the store that is current.
        pictures: uint8 (images, height, width) or (images, height, width, 3), as the benchmark's are stored.
        labels: places in the network's classes (images,).

    Returns:
        MLflow's result: ``metrics`` with ``accuracy_score``, ``f1_score`` and the others, ``artifacts``.

    Raises:
        UserError: no such model, or pictures and labels that don't fit.
    """
    if len(pictures) != len(labels) or not len(labels):
        raise UserError(f"{len(pictures)} pictures and {len(labels)} labels; expected as many of both, one at least")
    try:
        network = mlflow.pyfunc.load_model(model_uri)
    except MlflowException as error:
        raise UserError(f"{model_uri} can't be loaded ({' '.join(str(error).split())[:200]})") from None

    def answers(rows: pd.DataFrame) -> np.ndarray:
        # MLflow's evaluator takes tables only: it gets the pictures' places, the network the pictures.
        return network.predict(pictures[rows["picture"].to_numpy()]).argmax(1)

    table = pd.DataFrame({"picture": np.arange(len(labels)), "label": labels})
    with warnings.catch_warnings(), _without_guesses():
        warnings.simplefilter("ignore")  # MLflow's evaluator uses what its own dependencies have deprecated
        return mlflow.models.evaluate(
            answers, table, targets="label", model_type="classifier", evaluator_config=ONLY_NUMBERS
        )


@contextmanager
def _without_guesses() -> Iterator[None]:
    """Silences what the evaluator guesses of labels that it was told of: "the model type looks like None"."""
    logger = logging.getLogger("mlflow.models.evaluation")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def hold(candidate: EvaluationResult, baseline: EvaluationResult, *, most_lost: float) -> None:
    """Lets a candidate pass if its accuracy is at most ``most_lost`` (a share) below the baseline's.

    Raises:
        UserError: it lost more, or ``most_lost`` is no share.
    """
    if not 0 <= most_lost < 1:
        raise UserError(f"most_lost is {most_lost}; expected a share of the images from 0 up to 1")
    before, after = (result.metrics[ACCURACY] for result in (baseline, candidate))
    least = MetricThreshold(threshold=max(before - most_lost, 0), greater_is_better=True)
    try:
        mlflow.validate_evaluation_results({ACCURACY: least}, candidate, baseline)
    except ModelValidationFailedException:
        raise UserError(f"accuracy {after:.4f}, the baseline's is {before:.4f}: more than {most_lost:g} lost") from None
