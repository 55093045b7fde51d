"""How readable a unit is without any label: do the images that activate it most look alike to CLIP?

Conventions: top images' embeddings are unit vectors. Source: Dreyer et al., Mechanistic understanding and validation
of large AI models with SemanticLens (2025, arXiv:2501.05398): clarity, polysemanticity, redundancy.
"""

import torch
from torch import Tensor

UNITS_AT_ONCE = 256
STEPS = 12
"""Power iterations: the first principal direction is only needed to tell its two sides apart."""


def clarity(vectors: Tensor) -> Tensor:
    """Mean cosine of all pairs of different top images, so that its expectation doesn't depend on their number.

    Args:
        vectors: (units, k, dim), k >= 2.

    Returns:
        (units,) in [-1/(k-1), 1].

    Raises:
        ValueError: only one image a unit.

    >>> clarity(torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]]))
    tensor([1., 0.])
    """
    count = vectors.shape[1]
    if count < 2:
        raise ValueError(f"top images: expected at least 2 a unit; got {count}")
    return (vectors.sum(dim=1).square().sum(dim=1) - count) / (count * (count - 1))


def polysemanticity(vectors: Tensor) -> Tensor:
    """1 - cosine of the two means that the top images fall into when split along their first principal direction.

    The split is the side of the mean that an image lies on (Boley, Principal direction divisive partitioning, 1998).

    Args:
        vectors: (units, k, dim).

    Returns:
        (units,), 0 where all images are the same.

    >>> polysemanticity(torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]]))
    tensor([1.])
    """
    centred = vectors - vectors.mean(dim=1, keepdim=True)
    # Starts at the image that is farthest from the mean: deterministic, and never at right angles to all directions.
    farthest = centred.square().sum(dim=2).argmax(dim=1)
    direction = centred[torch.arange(len(vectors)), farthest]
    for _ in range(STEPS):
        along = torch.einsum("ukd,ud->uk", centred, direction)
        direction = torch.nn.functional.normalize(torch.einsum("ukd,uk->ud", centred, along), dim=1)
    side = (torch.einsum("ukd,ud->uk", centred, direction) > 0).unsqueeze(-1)
    one, other = (torch.where(mask, vectors, 0).sum(dim=1) for mask in (side, ~side))
    cosine = torch.nn.functional.cosine_similarity(one, other, dim=1)
    # Where all images are the same, rounding puts all of them on one side.
    split = (side.any(dim=1) & ~side.all(dim=1)).squeeze(-1)
    return torch.where(split, 1 - cosine, 0)


def redundancy(means: Tensor) -> Tensor:
    """The highest cosine of a unit's mean top-image embedding with that of another unit of the layer.

    Args:
        means: (units, dim).

    Returns:
        (units,); NaN in a layer of one unit.

    >>> redundancy(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
    tensor([1., 1., 0.])
    """
    directions = torch.nn.functional.normalize(means, dim=1)
    cosines = directions @ directions.T
    cosines.fill_diagonal_(-torch.inf)
    best = cosines.amax(dim=1)
    return torch.where(best.isinf(), torch.nan, best)


def coherence(embeddings: Tensor, top: Tensor) -> dict[str, Tensor]:
    """All three for each unit.

    Args:
        embeddings: (images, dim), unit vectors.
        top: (k, units) each unit's most activating images.

    Returns:
        ``clarity``, ``polysemanticity`` and ``redundancy``, (units,) float32 each.
    """
    parts = []
    for units in top.T.split(UNITS_AT_ONCE):
        vectors = embeddings[units]
        parts.append((clarity(vectors), polysemanticity(vectors), vectors.mean(dim=1)))
    clear, mixed, means = (torch.cat(part) for part in zip(*parts, strict=True))
    return {"clarity": clear, "polysemanticity": mixed, "redundancy": redundancy(means)}
