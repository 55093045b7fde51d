"""Whether a description is true: how a unit's activation agrees with its concept on images not used for describing.

Conventions: activations (images, units), concept scores (images, concepts) from an image-text model or measured, with
NaN where a concept was not measured on an image. Scores are (units, concepts) float32, larger meaning better
agreement; NaN where a concept has no positive or no negative image, or a unit or concept is constant.

The five scores are those that pass both sanity tests of Oikarinen, Yan and Weng, Evaluating Neuron Explanations: A
Unified Framework with Sanity Checks (ICML 2025, arXiv:2506.05774): they fall when half of a concept's labels are
missing, and when as many wrong ones are added. Recall, there the share of a unit's active images that have the concept
(which is what accuracy on its top images is), never falls when labels are added. Precision, the share of the concept's
images that activate the unit, doesn't when they are missing, nor does AUROC where the concept is rare. A test of this
module runs them all.

Two limits. The cosine passes only where activations without the concept are small beside those with it: past 0.41 of
them on average, added labels raise it. AUPRC takes the unit for the detector of the concept (the paper's inverse
AUPRC, its AUPRC being the other way round), and added labels lower it little once a concept is on nearly half of the
images.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emobench.functional.columns import centred, constant_columns
from emobench.functional.similarity.compiled import compiled, in_threads

METRICS = ("f1", "iou", "pearson", "cosine", "auprc")
POSITIVE, NEGATIVE = 0.8, 0.5
"""A measured concept is present from the first value on and absent up to the second; what lies between is left out."""
UNITS_AT_ONCE = 64


@dataclass(frozen=True)
class Evidence:
    """What concepts are held against on held-out images: ``values`` (images, concepts) and which count as present.

    ``present`` and ``absent`` are bool (images, concepts); an image that is neither is left out for that concept.
    """

    values: Tensor
    present: Tensor
    absent: Tensor


def measured_evidence(annotations: Tensor) -> Evidence:
    """Annotations (images, concepts) in [0, 1], NaN = not measured: present from 0.8 on, absent up to 0.5."""
    return Evidence(annotations, annotations >= POSITIVE, annotations <= NEGATIVE)


def scored_evidence(concept_scores: Tensor, share: float) -> Evidence:
    """Scores of an image-text model: present on the ``share`` of the images where they are highest.

    >>> scored_evidence(torch.tensor([[0.1], [0.9], [0.5], [0.4]]), 0.25).present.flatten()
    tensor([False,  True, False, False])
    """
    present = top_mask(concept_scores, share)
    return Evidence(concept_scores, present, ~present)


def top_mask(values: Tensor, share: float) -> Tensor:
    """The highest ``share`` of each column (images, n), at least one image, ties by index: bool of the same shape."""
    count = max(1, round(share * len(values)))
    first = torch.sort(values, dim=0, descending=True, stable=True).indices[:count]
    return torch.zeros_like(values, dtype=torch.bool).scatter_(0, first, True)


def agreement(activations: Tensor, evidence: Evidence, active_share: float) -> dict[str, Tensor]:
    """All five scores of every unit with every concept.

    Args:
        activations: (images, units).
        evidence: the concepts on the same images.
        active_share: for F1 and IoU a unit is active on this share of the images, those where it is highest.

    Returns:
        Name in METRICS -> (units, concepts) float32.

    Raises:
        ValueError: another number of images, or NaN in the activations.

    >>> evidence = measured_evidence(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    >>> agreement(torch.tensor([[3.0], [1.0], [2.0]]), evidence, 0.34)["auprc"]
    tensor([[1.0000, 0.5833]])
    """
    if len(activations) != len(evidence.values):
        raise ValueError(f"activations: expected {len(evidence.values)} images; got {len(activations)}")
    if activations.isnan().any():
        raise ValueError("activations: expected numbers; got NaN")
    f1, iou = overlap(top_mask(activations, active_share), evidence)
    scores = (f1, iou, pearson(activations, evidence.values), cosine(activations, evidence.values))
    found = dict(zip(METRICS, (*scores, auprc(activations, evidence)), strict=True))
    dead = constant_columns(activations)
    useless = dead[:, None] | ~(evidence.present.any(dim=0) & evidence.absent.any(dim=0))
    return {name: torch.where(useless, torch.nan, value).float() for name, value in found.items()}


def overlap(active: Tensor, evidence: Evidence) -> tuple[Tensor, Tensor]:
    """F1 and IoU of active images (images, units) and images with the concept: (units, concepts) each.

    Images where the concept is neither present nor absent are left out.
    """
    units = active.T.float()
    present, known = evidence.present.float(), (evidence.present | evidence.absent).float()
    both, fires, positives = units @ present, units @ known, present.sum(dim=0)
    return 2 * both / (fires + positives), both / (fires + positives - both)


def pearson(activations: Tensor, values: Tensor) -> Tensor:
    """Pearson's correlation over the images where a concept has a value: (units, concepts)."""
    known = ~values.isnan()
    return _in_groups(
        known, lambda rows, columns: _cosines(*map(centred, (activations[rows], values[rows][:, columns])))
    )


def cosine(activations: Tensor, values: Tensor) -> Tensor:
    """Cosine, not centred, over the images where a concept has a value: (units, concepts)."""
    known = ~values.isnan()
    return _in_groups(known, lambda rows, columns: _cosines(activations[rows], values[rows][:, columns]))


def _in_groups(known, score) -> Tensor:
    """Concepts that are known on the same images are scored together."""
    patterns, group = known.T.unique(dim=0, return_inverse=True)
    result: Tensor | None = None
    for number, rows in enumerate(patterns):
        columns = group == number
        part = score(rows, columns)
        if result is None:
            result = part.new_full((len(part), known.shape[1]), torch.nan)
        if rows.any():
            result[:, columns] = part
    if result is None:
        raise ValueError("evidence: expected a concept at least, got none")
    return result


def _cosines(left: Tensor, right: Tensor) -> Tensor:
    """Cosines of columns; NaN where one is all zeros."""
    left, right = ((vectors.double() / vectors.double().norm(dim=0)) for vectors in (left, right))
    return left.T @ right


def auprc(activations: Tensor, evidence: Evidence) -> Tensor:
    """Average precision of the activation as a detector of the concept: (units, concepts), NaN without a positive.

    Sum over thresholds of (gain in recall) x precision, equal activations being one threshold (as scikit-learn does).
    """
    present, known = (mask.numpy() for mask in (evidence.present, evidence.present | evidence.absent))
    result = np.full((activations.shape[1], present.shape[1]), np.nan)
    columns = activations.T

    def fill(start: int) -> None:
        values, order = columns[start : start + UNITS_AT_ONCE].sort(dim=1, descending=True)
        _average_precision(values.numpy(), order.numpy(), present, known, result[start : start + UNITS_AT_ONCE])

    in_threads(fill, range(0, len(columns), UNITS_AT_ONCE))
    return torch.from_numpy(result)


@compiled
def _average_precision(
    values: np.ndarray, order: np.ndarray, present: np.ndarray, known: np.ndarray, result: np.ndarray
) -> None:
    """For units' descending activations (units, images) and their images ``order``: result (units, concepts)."""
    units, images = values.shape
    concepts = present.shape[1]
    for u in range(units):
        hits, seen, before = np.zeros(concepts), np.zeros(concepts), np.zeros(concepts)
        area = np.zeros(concepts)
        for i in range(images):
            image = order[u, i]
            for m in range(concepts):
                hits[m] += present[image, m]
                seen[m] += known[image, m]
            if i + 1 == images or values[u, i + 1] != values[u, i]:
                for m in range(concepts):
                    if hits[m] > before[m]:
                        area[m] += (hits[m] - before[m]) * hits[m] / seen[m]
                        before[m] = hits[m]
        for m in range(concepts):
            result[u, m] = area[m] / hits[m] if hits[m] > 0 else np.nan


def auroc(scores: Tensor, positive: Tensor) -> Tensor:
    """Area under the ROC curve of many scores for one set of positives, ties counted half (Mann-Whitney).

    Args:
        scores: (images, units).
        positive: (images,) bool.

    Returns:
        (units,) float64; NaN if there is no positive or no negative.

    >>> auroc(torch.tensor([[0.1], [0.4], [0.8]]), torch.tensor([False, False, True]))
    tensor([1.], dtype=torch.float64)
    """
    count, hits = len(positive), int(positive.sum())
    if hits in (0, count):
        return torch.full((scores.shape[1],), torch.nan, dtype=torch.float64)
    columns = scores.T.contiguous()
    ordered = columns.sort(dim=1).values
    # The mean rank of a value among ties: halfway between where it could first and last be inserted.
    wanted = columns[:, positive].contiguous()
    ranks = torch.searchsorted(ordered, wanted).double() + torch.searchsorted(ordered, wanted, right=True).double()
    return ((ranks + 1) / 2).sum(dim=1).sub(hits * (hits + 1) / 2).div(hits * (count - hits))


def description_auroc(activations: Tensor, annotations: Tensor, described: Tensor) -> Tensor:
    """How well each unit's activation tells images with its concept from images without.

    Args:
        activations: (images, units), images that were not used for describing.
        annotations: (images, concepts) in [0, 1], NaN = not measured.
        described: (units,) index of each unit's concept.

    Returns:
        (units,) float64; NaN where the concept has no positive or no negative image.
    """
    result = torch.full((activations.shape[1],), torch.nan, dtype=torch.float64)
    for concept in described.unique().tolist():
        values = annotations[:, concept]
        rows = (values >= POSITIVE) | (values <= NEGATIVE)
        units = described == concept
        result[units] = auroc(activations[rows][:, units], values[rows] >= POSITIVE)
    return result
