"""What moving one concept does to units: responses, and how far a unit responds to its own concept alone.

Conventions: a response (units, concepts) is the mean change of a unit's activation, over pairs of images that differ in
one concept, in standard deviations of its activation over ordinary images. ``moved`` (concepts, concepts) is how far
the column's concept truly went where the row's was moved.
"""

import torch
from torch import Tensor

STILL = 0.1
"""A concept counts as held still where it moved by less, from 0 to 1."""


def responses(without: Tensor, shown: Tensor, ordinary: Tensor) -> Tensor:
    """Mean standardised change of every unit for every concept.

    Args:
        without: (concepts, images, units), without the concept.
        shown: the same, with it.
        ordinary: (n, units) activations on ordinary images, whose standard deviation is the unit of the response.

    Returns:
        (units, concepts); 0 for a unit that is constant on the ordinary images.

    Raises:
        ValueError: shapes that don't fit each other.

    >>> before = torch.zeros(1, 2, 1)
    >>> responses(before, before + 3, torch.tensor([[0.0], [2.0]]))
    tensor([[3.]])
    """
    if without.shape != shown.shape or without.ndim != 3 or ordinary.shape[1:] != without.shape[2:]:
        shapes = [tuple(given.shape) for given in (without, shown, ordinary)]
        raise ValueError(f"activations of shapes {shapes}; expected (concepts, images, units) twice and (n, units)")
    spread = ordinary.std(0, correction=0)
    change = (shown - without).mean(1).T
    return torch.where(spread[:, None] > 0, change / spread.clamp_min(torch.finfo(spread.dtype).tiny)[:, None], 0.0)


def specificity(response: Tensor, moved: Tensor) -> Tensor:
    """Share of a unit's squared responses that is its response to one concept: 1 for a detector of it alone.

    Held against the concept are only moves that leave it still (see STILL): a unit for *frown* may respond to
    *downturned mouth*, which is part of it. A unit that responds by falling has 0.

    Args:
        response: (units, concepts).
        moved: (concepts, concepts).

    Returns:
        (units, concepts) in [0, 1], NaN for a unit that responds to nothing.

    >>> specificity(torch.tensor([[3.0, -4.0]]), torch.eye(2))
    tensor([[0.3600, 0.0000]])
    """
    against = held_against(moved)
    squares = response.square()
    own = torch.where(response > 0, squares, 0.0)
    total = squares + squares @ against.to(squares)
    return torch.where(total > 0, own / total, torch.nan)


def own_rank(response: Tensor, moved: Tensor) -> Tensor:
    """How many concepts move a unit at least as far up as one concept does, itself included: 1 is the best.

    Args:
        response: (units, concepts).
        moved: (concepts, concepts); moves that don't leave the concept still don't count against it.

    Returns:
        (units, concepts) int64.

    >>> own_rank(torch.tensor([[0.5, 2.0, 1.0]]), torch.eye(3))
    tensor([[3, 1, 2]])
    """
    against = held_against(moved)
    higher = response[:, :, None] >= response[:, None, :]
    return 1 + (higher & against).sum(1)


def held_against(moved: Tensor) -> Tensor:
    """Which moves (rows) leave which concepts (columns) still: bool (concepts, concepts), never a concept's own."""
    still = moved.abs() < STILL
    return still & ~torch.eye(len(moved), dtype=torch.bool)
