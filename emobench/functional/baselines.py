"""What descriptions of single units have to beat: a direction from means, a sparse linear explanation, a like unit.

Conventions: activations (images, units), concept scores (images, concepts). What is fitted, is fitted on probe images
and is to be judged on others.
"""

import numpy as np
import torch
from torch import Tensor

from emobench.functional.columns import constant_columns, standardised


def diff_means(activations: Tensor, present: Tensor, absent: Tensor) -> Tensor:
    """The direction of each concept in a layer: mean with the concept minus mean without, of standardised activations.

    Its projection, ``activations / spread @ direction``, is the plainest detector of the concept that a layer gives
    (DiffMean); see ``directed``.

    Args:
        activations: (images, units).
        present: (images, concepts) bool.
        absent: the same; an image that is neither is left out for that concept.

    Returns:
        (units, concepts) of norm 1; zeros for a concept without an image of either kind, and for constant units.
    """
    scaled = standardised(activations)
    means = [scaled.T @ (mask.float() / mask.sum(0).clamp_min(1)) for mask in (present, absent)]
    both = present.any(0) & absent.any(0)
    return torch.nn.functional.normalize(torch.where(both, means[0] - means[1], 0.0), dim=0)


def directed(activations: Tensor, directions: Tensor, probe: Tensor) -> Tensor:
    """Activations (images, units) along directions (units, concepts), scaled as on the ``probe`` (n, units)."""
    spread = torch.where(constant_columns(probe), torch.inf, probe.std(0))
    return ((activations - probe.mean(0)) / spread) @ directions


def sparse_explanations(activations: Tensor, concept_scores: Tensor, most: int) -> Tensor:
    """Every unit as a weighted sum of few concepts: the first ones on the path of the Lasso, then least squares.

    Args:
        activations: (images, units).
        concept_scores: (images, concepts).
        most: concepts of a unit.

    Returns:
        Weights (units, concepts) of standardised concepts for standardised activations, at most ``most`` not zero; with
        one concept the weight is their correlation.
    """
    from sklearn.linear_model import lars_path_gram

    units, concepts = (standardised(values).double().numpy() for values in (activations, concept_scores))
    rows = len(units)
    # A step may also drop a concept again: twice as many are enough.
    gram, found = concepts.T @ concepts, np.zeros((units.shape[1], concepts.shape[1]))
    for unit, together in enumerate((concepts.T @ units).T):
        _, _, path = lars_path_gram(together, gram, n_samples=rows, max_iter=2 * most, method="lasso")
        fitting = np.flatnonzero((path != 0).sum(0) <= most)
        chosen = np.flatnonzero(path[:, fitting[-1]])
        if len(chosen):
            found[unit, chosen] = np.linalg.lstsq(gram[np.ix_(chosen, chosen)], together[chosen], rcond=None)[0]
    return torch.from_numpy(found).float()


def explained(weights: Tensor, activations: Tensor, concept_scores: Tensor) -> Tensor:
    """Correlation (units,) of activations and the sum of concepts by weights (units, concepts); 0 if constant."""
    made, units = standardised(standardised(concept_scores) @ weights.T), standardised(activations)
    return (made * units).sum(0) / (len(units) - 1)


def like_units(activations: Tensor, *, nearest: int, generator: torch.Generator) -> Tensor:
    """For each unit another one of its layer with like statistics: mean, spread, skew and share of positive values.

    Args:
        activations: (images, units), at least two units.
        nearest: it is drawn from so many whose statistics are the nearest.
        generator: of the draw.

    Returns:
        (units,) int64, never the unit itself.

    Raises:
        ValueError: fewer than two units.
    """
    count = activations.shape[1]
    if count < 2:
        raise ValueError(f"a layer of {count} units has no other unit; expected at least two")
    skew = standardised(activations).pow(3).mean(0)
    facts = [activations.mean(0), activations.std(0), skew, (activations > 0).float().mean(0)]
    scaled = standardised(torch.stack(facts, 1))
    apart = torch.cdist(scaled, scaled).fill_diagonal_(torch.inf)
    near = apart.argsort(dim=1, stable=True)[:, : min(nearest, count - 1)]
    return near.gather(1, torch.randint(near.shape[1], (count, 1), generator=generator))[:, 0]
