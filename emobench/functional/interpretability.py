"""What a unit's best concept says: descriptions, the accuracy of Table 1, its chance level, and the layer table.

Conventions: similarity is (units, concepts); top images are (k, units) positions in the probe; accuracies are shares
in [0, 1] and NaN where a concept speaks for no class. Source: the seed paper, section 3.2, Table 1 and figure 5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Descriptions:
    """For every unit its best concept (index), that similarity, the runner-up concept and the distance to it."""

    best: Tensor
    similarity: Tensor
    runner_up: Tensor
    margin: Tensor


def describe(similarity: Tensor) -> Descriptions:
    """Names every unit by the concept with the highest similarity; ties go to the concept listed first.

    Args:
        similarity: (units, concepts), at least two concepts.

    Raises:
        ValueError: fewer than two concepts, or NaN.

    >>> describe(torch.tensor([[0.1, 0.7, 0.3]])).best
    tensor([1])
    """
    if similarity.ndim != 2 or similarity.shape[1] < 2:
        raise ValueError(f"similarity has shape {tuple(similarity.shape)}; expected (units, at least 2 concepts)")
    if torch.isnan(similarity).any():
        raise ValueError("similarity has NaN; expected numbers")
    # A stable sort, not topk: only it promises the first of equal values.
    values, order = torch.sort(similarity, dim=1, descending=True, stable=True)
    return Descriptions(order[:, 0], values[:, 0], order[:, 1], values[:, 0] - values[:, 1])


def class_membership(
    concepts: Sequence[str], concept_classes: Mapping[str, Sequence[str]], class_names: Sequence[str]
) -> Tensor:
    """Which classes each concept speaks for: bool (concepts, classes); a concept without a known class is all False.

    >>> class_membership(["smile", "hat"], {"smile": ["happy"]}, ["sad", "happy"])
    tensor([[False,  True],
            [False, False]])
    """
    return torch.tensor([[name in concept_classes.get(concept, ()) for name in class_names] for concept in concepts])


def label_accuracy(top_images: Tensor, labels: Tensor, membership: Tensor, best: Tensor) -> Tensor:
    """The paper's unit accuracy: share of a unit's top images whose label is among its concept's classes.

    Args:
        top_images: (k, units) positions in the probe, most activating first.
        labels: (images,) labels of the probe.
        membership: bool (concepts, classes).
        best: (units,) index of each unit's concept.

    Returns:
        (units,) float32; NaN where the concept speaks for no class.

    >>> label_accuracy(torch.tensor([[0], [1]]), torch.tensor([1, 0]), torch.tensor([[False, True]]), torch.tensor([0]))
    tensor([0.5000])
    """
    hits = membership[best].T.gather(0, labels[top_images])
    accuracy = hits.float().mean(dim=0)
    return torch.where(membership[best].any(dim=1), accuracy, torch.nan)


def label_chance(labels: Tensor, membership: Tensor) -> Tensor:
    """The accuracy that random images would give: (concepts,), from the probe's class frequencies; NaN as above.

    >>> label_chance(torch.tensor([0, 0, 0, 1]), torch.tensor([[True, False], [False, False]]))
    tensor([0.7500,    nan])
    """
    frequencies = torch.bincount(labels, minlength=membership.shape[1]).float() / len(labels)
    return torch.where(membership.any(dim=1), membership.float() @ frequencies, torch.nan)


def layer_summary(similarity: Tensor, accuracy: Tensor, chance: Tensor, tau: float) -> dict[str, float]:
    """One row of Table 1: units with similarity above tau are interpretable.

    Args:
        similarity: (units,) best similarity of each unit.
        accuracy: (units,) label accuracy.
        chance: (units,) chance of the unit's concept.
        tau: the threshold.

    Returns:
        num_units, num_interp, num_uninterp, prop_interp, and the mean accuracy and chance of all, of the interpretable
        and of the other units (NaN for a group without units), and ``lift``: overall accuracy over overall chance.
    """
    chosen = similarity > tau
    groups = {"overall": torch.ones_like(chosen), "interp": chosen, "uninterp": ~chosen}
    row: dict[str, float] = {
        "num_units": len(chosen),
        "num_interp": int(chosen.sum()),
        "num_uninterp": int((~chosen).sum()),
    }
    row |= {f"{name}_acc": accuracy[mask].nanmean().item() for name, mask in groups.items()}
    row |= {f"{name}_chance": chance[mask].nanmean().item() for name, mask in groups.items()}
    return row | {"prop_interp": chosen.float().mean().item(), "lift": row["overall_acc"] / row["overall_chance"]}
