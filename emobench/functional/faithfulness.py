"""Whether a description is true: agreement of a unit's activation with the measured concept on other images."""

import torch
from torch import Tensor

POSITIVE, NEGATIVE = 0.8, 0.5
"""A concept is present from the first value on and absent up to the second; what lies between is left out."""


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
