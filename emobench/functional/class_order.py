"""Would another order of the classes fit a classifier's answers better?

Conventions: logits (images, classes), labels (images,) in 0..classes-1. Agreement is Cohen's kappa, (p - e) / (1 - e)
with accuracy p and the accuracy e that class sizes alone would give: a network that gives one answer has kappa 0
whatever that answer is called, although its accuracy changes with the name.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from emobench.functional.binomial import upper_tail
from emobench.functional.classification import confusion_matrix


class ClassOrder(NamedTuple):
    """The best order of classes for the outputs of a network, beside the given one.

    ``order[j]`` is the class that output j fits; ``p_value``: probability of as many more right answers by luck, were
    both orders equally good, times the number of orders.
    """

    order: tuple[int, ...]
    accuracy: float
    kappa: float
    given_accuracy: float
    given_kappa: float
    p_value: float


def best_class_order(logits: Tensor, labels: Tensor) -> ClassOrder:
    """Finds the order of classes under which the answers agree best with the labels, by linear assignment.

    Args:
        logits: (images, classes).
        labels: (images,) integers.

    Raises:
        ValueError: shapes that don't fit, or a label out of range.

    >>> import torch
    >>> found = best_class_order(torch.eye(3)[[0, 1, 2, 2]], torch.tensor([0, 2, 1, 1]))
    >>> found.order, found.accuracy, found.given_accuracy
    ((0, 2, 1), 1.0, 0.25)
    """
    classes = logits.shape[-1]
    table = confusion_matrix(logits.argmax(-1), labels, classes).numpy()
    by_luck = np.outer(table.sum(axis=1), table.sum(axis=0)) / max(len(labels), 1)
    given = np.arange(classes)
    # A hair for the given order: classes that are never answered keep their names.
    places, outputs = linear_sum_assignment(table - by_luck + 1e-6 * np.eye(classes), maximize=True)
    order = places[np.argsort(outputs)]
    moved = order != given
    gains, losses = (int(table[where, given][moved].sum()) for where in (order, given))
    luck = float(upper_tail(gains, gains + losses, 0.5))
    chance = math.lgamma(classes + 1) + math.log(luck) if luck else -math.inf
    return ClassOrder(
        tuple(order.tolist()),
        *_agreement(table[order], by_luck[order]),
        *_agreement(table, by_luck),
        math.exp(min(chance, 0.0)),
    )


def _agreement(table: np.ndarray, by_luck: np.ndarray) -> tuple[float, float]:
    """Accuracy and Cohen's kappa of a matrix (labels, answers) whose diagonal is right."""
    total = table.sum()
    right, lucky = np.trace(table) / total, np.trace(by_luck) / total
    return float(right), float((right - lucky) / (1 - lucky)) if lucky < 1 else 0.0
