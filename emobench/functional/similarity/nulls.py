"""What the best similarity of a unit means: its distribution when the unit knows nothing of the images.

For wpmi and soft_wpmi a unit whose top images are random has a log-likelihood L that depends on the concept set alone.
It is drawn once and shared by all units and layers; what a layer adds is its observed normaliser c, which is held
fixed: T = max over concepts of (L - c). Drawing c anew would shift the zero and pass every random unit.

The nulls of the cosines and of rank_reorder depend on the unit: see asymptotic.

Conventions: draws come first; p-values are one-sided, (1 + number of draws that reach the observed) / (1 + draws).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Best:
    """Similarity to the best concept in null draws: mean, sd and a sample (n,), and how often each concept is best.

    ``exceeding``: (units,), how many draws reach the unit's observed value. ``mean`` and ``sd`` are (units,).
    ``best``: (concepts,) shares that sum to 1.
    """

    exceeding: Tensor
    draws: int
    mean: Tensor
    sd: Tensor
    sample: Tensor
    best: Tensor

    def p_values(self) -> Tensor:
        """(units,) float64."""
        return (1 + self.exceeding.double()) / (1 + self.draws)

    def effect(self, observed: Tensor) -> Tensor:
        """How many standard deviations the observed best similarity (units,) lies above what random gives."""
        return (observed.double() - self.mean) / self.sd


def q_values(p_values: Tensor) -> Tensor:
    """Benjamini and Hochberg's adjusted p-values of one layer's units (1995, J. R. Stat. Soc. B 57).

    >>> q_values(torch.tensor([0.01, 0.04, 0.03], dtype=torch.float64))
    tensor([0.0300, 0.0400, 0.0400], dtype=torch.float64)
    """
    # Not by scipy.stats, which takes more than a second to import on a slow core.
    descending, order = p_values.double().sort(descending=True, stable=True)
    adjusted = descending * len(order) / torch.arange(len(order), 0, -1)
    return torch.empty_like(adjusted).scatter_(0, order, adjusted.cummin(0).values.clamp(max=1))


def random_top_images(images: int, top_k: int, draws: int, generator: torch.Generator) -> Tensor:
    """Ordered sets of different images, all equally likely.

    Args:
        images: how many there are.
        top_k: size of a set.
        draws: how many sets.
        generator: of the draws.

    Returns:
        Image indices (top_k, draws), int64.

    Raises:
        ValueError: ``top_k`` is not 1 to ``images``.

    >>> random_top_images(3, 3, 2, torch.Generator().manual_seed(0)).sort(dim=0).values
    tensor([[0, 0],
            [1, 1],
            [2, 2]])
    """
    if not 1 <= top_k <= images:
        raise ValueError(f"top_k: expected 1 to {images}, the number of images; got {top_k}")
    # Beyond it fewer than one set in e^2 is without a repetition.
    if top_k * top_k > 4 * images:
        return torch.stack([torch.randperm(images, generator=generator)[:top_k] for _ in range(draws)], dim=1)
    # Sets drawn with repetition, thrown away whole where an image came twice: what stays is uniform.
    found = torch.empty(top_k, 0, dtype=torch.int64)
    while found.shape[1] < draws:
        drawn = torch.randint(images, (top_k, draws), generator=generator)
        ordered = drawn.sort(dim=0).values
        found = torch.cat([found, drawn[:, (ordered[1:] != ordered[:-1]).all(dim=0)]], dim=1)
    return found[:, :draws].contiguous()


def shared_null(likelihood: Tensor, normaliser: Tensor, observed: Tensor) -> Best:
    """The null of wpmi and soft_wpmi for one layer.

    Args:
        likelihood: (draws, concepts), L of random top images.
        normaliser: (concepts,), the layer's observed correction, lam included.
        observed: (units,), the units' best similarities.

    Raises:
        ValueError: shapes that don't fit.

    >>> drawn = torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    >>> shared_null(drawn, torch.zeros(2), torch.tensor([1.0, 3.0])).p_values()
    tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    if normaliser.shape != likelihood.shape[1:]:
        raise ValueError(f"normaliser: expected ({likelihood.shape[1]},); got {tuple(normaliser.shape)}")
    values, concepts = (likelihood - normaliser).max(dim=1)
    ordered, draws = values.sort().values, len(values)
    exceeding = draws - torch.searchsorted(ordered, observed.to(ordered))
    mean, sd = (number.double().expand(len(observed)) for number in (values.mean(), values.std()))
    best = torch.bincount(concepts, minlength=likelihood.shape[1]).double() / draws
    return Best(exceeding, draws, mean, sd, values, best)
