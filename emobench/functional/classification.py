"""Metrics of a classifier from its logits, for one network or for thousands of edited ones at once.

Conventions: logits (..., images, classes), labels (images,) in 0..classes-1, every leading axis a configuration of
its own. Ties between logits go to the lower class. Shares are in [0, 1], NLL in nats, the Brier score in [0, 2].
What depends on a class (balanced accuracy, macro F1) is taken over the classes that occur among the labels.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

ECE_BINS = 15


def classification_metrics(logits: Tensor, labels: Tensor, class_names: Sequence[str]) -> dict[str, float]:
    """All metrics of one network.

    Args:
        logits: (images, classes).
        labels: (images,) integers.
        class_names: (classes,) names for the keys ``recall_<class>``.

    Returns:
        accuracy, balanced_accuracy, macro_f1, top2, nll, brier, ece and a recall for every class (NaN for a class
        that no image has).

    Raises:
        ValueError: shapes that don't fit, no image, a label out of range, or NaN among the logits.

    >>> metrics = classification_metrics(torch.eye(2), torch.tensor([0, 0]), ["sad", "happy"])
    >>> metrics["accuracy"], metrics["recall_sad"], metrics["recall_happy"]
    (0.5, 0.5, nan)
    """
    return {name: float(value) for name, value in metric_columns(logits, labels, class_names).items()}


def metric_columns(logits: Tensor, labels: Tensor, class_names: Sequence[str]) -> dict[str, Tensor]:
    """The metrics of ``classification_metrics`` for logits (..., images, classes): name -> float64 tensor (...)."""
    if logits.shape[-1] != len(class_names):
        raise ValueError(f"logits have {logits.shape[-1]} classes; class_names has {len(class_names)}")
    return averaged(image_scores(logits, labels), labels, class_names)


def image_scores(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """What the metrics are averages of, so that those of several sets of images need it once.

    Args:
        logits: (..., images, classes).
        labels: (images,).

    Returns:
        preds and rank (see label_ranks), integers, and what ``probability_scores`` gives: (..., images) each.
    """
    return {
        "preds": logits.argmax(-1),
        "rank": label_ranks(logits, labels),
        **probability_scores(logits, labels),
    }


def averaged(scores: Mapping[str, Tensor], labels: Tensor, class_names: Sequence[str]) -> dict[str, Tensor]:
    """The metrics of some images from their ``image_scores`` (..., images) and labels (images,): float64 (...)."""
    table = confusion_matrix(scores["preds"], labels, len(class_names))
    columns = {
        **confusion_metrics(table),
        "top2": (scores["rank"] < 2).double().mean(-1),
        **averaged_probabilities(scores),
    }
    recalls = class_recalls(table)
    return columns | {f"recall_{name}": recalls[..., index] for index, name in enumerate(class_names)}


def label_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes are put before the label's: (..., images) integers; 0 is a right answer.

    Raises:
        ValueError: shapes that don't fit, no image, a label out of range, or NaN among the logits.

    >>> label_ranks(torch.tensor([[0.1, 0.7, 0.2]]), torch.tensor([2]))
    tensor([1])
    """
    _check(logits, labels)
    own = _of_label(logits, labels).unsqueeze(-1)
    earlier = torch.arange(logits.shape[-1]) < labels.unsqueeze(-1)
    return ((logits > own) | ((logits == own) & earlier)).sum(-1)


def confusion_matrix(preds: Tensor, labels: Tensor, classes: int = 7) -> Tensor:
    """Counts of (label, prediction): rows are true classes.

    Args:
        preds: (..., images) integers.
        labels: (images,) integers.
        classes: how many classes there are.

    Returns:
        (..., classes, classes) int64.

    Raises:
        ValueError: shapes that don't fit, or a class out of range.

    >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), classes=2)
    tensor([[1, 1],
            [0, 1]])
    """
    if preds.shape[-1:] != labels.shape:
        raise ValueError(
            f"preds {tuple(preds.shape)} and labels {tuple(labels.shape)} don't fit; expected (..., n), (n,)"
        )
    for name, values in (("preds", preds), ("labels", labels)):
        if values.numel() and not (values.min() >= 0 and values.max() < classes):
            raise ValueError(f"{name} reach from {values.min()} to {values.max()}; expected 0 to {classes - 1}")
    cells = labels.long() * classes + preds.reshape(-1, preds.shape[-1]).long()
    offsets = torch.arange(len(cells)).unsqueeze(-1) * classes**2
    counts = torch.bincount((cells + offsets).flatten(), minlength=len(cells) * classes**2)
    return counts.reshape(*preds.shape[:-1], classes, classes)


def confusion_metrics(table: Tensor) -> dict[str, Tensor]:
    """Accuracy, balanced accuracy and macro F1 from confusion matrices (..., classes, classes): float64 (...)."""
    table = table.double()
    right, labelled = table.diagonal(dim1=-2, dim2=-1), table.sum(-1)
    present = labelled > 0
    f1 = 2 * right / (labelled + table.sum(-2)).clamp(min=1)
    return {
        "accuracy": right.sum(-1) / labelled.sum(-1),
        "balanced_accuracy": class_recalls(table).nan_to_num(0).sum(-1) / present.sum(-1),
        "macro_f1": (f1 * present).sum(-1) / present.sum(-1),
    }


def class_recalls(table: Tensor) -> Tensor:
    """Recall of each class from confusion matrices (..., classes, classes): float64 (..., classes), NaN if absent."""
    table = table.double()
    return table.diagonal(dim1=-2, dim2=-1) / table.sum(-1)


def probability_metrics(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """NLL, Brier score (summed over classes) and top-label expected calibration error: float64 (...).

    The error has 15 bins of equal width, [0, 1/15) to [14/15, 1] (Guo et al., 2017, arXiv:1706.04599, equation 3).
    """
    return averaged_probabilities(probability_scores(logits, labels))


def probability_scores(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Each image's nll, brier, confidence (the highest probability) and right (bool): (..., images)."""
    _check(logits, labels)
    # Classes first, so that the sums over them run along memory.
    log_probabilities = logits.double().movedim(-1, 0).contiguous().log_softmax(0)
    own = log_probabilities.gather(0, labels.long().expand(log_probabilities.shape[1:]).unsqueeze(0)).squeeze(0)
    probabilities = log_probabilities.exp_()
    confidence, preds = probabilities.max(0)
    # |p - onehot|^2 = |p|^2 - 2 p_label + 1
    brier = probabilities.square().sum(0) - 2 * own.exp() + 1
    return {"nll": -own, "brier": brier, "confidence": confidence, "right": preds == labels}


def averaged_probabilities(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The metrics of ``probability_metrics`` from ``probability_scores``."""
    means = {name: scores[name].mean(-1) for name in ("nll", "brier")}
    return means | {"ece": _calibration_error(scores["confidence"], scores["right"].double())}


def _calibration_error(confidence: Tensor, right: Tensor) -> Tensor:
    """sum_b (n_b / n) |accuracy_b - confidence_b| = sum_b |sum over b of (right - confidence)| / n."""
    bins = (confidence * ECE_BINS).long().clamp(max=ECE_BINS - 1)
    gaps = confidence.new_zeros(*confidence.shape[:-1], ECE_BINS).scatter_add_(-1, bins, right - confidence)
    return gaps.abs().sum(-1) / confidence.shape[-1]


def _of_label(values: Tensor, labels: Tensor) -> Tensor:
    """Picks values (..., images, classes) at each image's label: (..., images)."""
    return values.gather(-1, labels.long().expand(values.shape[:-1]).unsqueeze(-1)).squeeze(-1)


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim < 2 or labels.ndim != 1 or logits.shape[-2] != len(labels) or not len(labels):
        raise ValueError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}; expected (..., n, classes) and (n,), n > 0"
        )
    if not (labels.min() >= 0 and labels.max() < logits.shape[-1]):
        raise ValueError(f"labels reach from {labels.min()} to {labels.max()}; expected 0 to {logits.shape[-1] - 1}")
    if logits.isnan().any():
        raise ValueError("logits hold NaN; the network's weights or its inputs are broken")
