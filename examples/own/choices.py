"""A selection strategy and a score function as a user would write them, named in params.yaml.

    dissect:
      file: examples/own/choices.py
      similarity_fns: [soft_wpmi, examples/own/choices.py:mean_difference]
    edit:
      file: examples/own/choices.py
      arms: [similarity, examples/own/choices.py:clear]

DVC watches the file: after a change of it only the stages that use it run again.
"""

import pandas as pd
import torch

TOP = 10
"""The share of images that count as a unit's own: one in so many."""


def mean_difference(concept_scores: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """How much better a concept fits the images that activate a unit most than it fits all.

    Args:
        concept_scores: (images, concepts), how well each concept fits each image.
        activations: (images, units).

    Returns:
        (units, concepts).
    """
    count = max(len(activations) // TOP, 1)
    # Stable, so that of equal activations the first images are taken, on every machine.
    top = activations.argsort(dim=0, descending=True, stable=True)[:count]
    chosen = torch.zeros_like(activations).scatter_(0, top, 1 / count)
    return chosen.T @ concept_scores - concept_scores.mean(dim=0)


def clear(target) -> pd.Series:
    """Units whose concept is well ahead of the runner-up: a mask, in the order of the units.

    ``target.units`` has a row a unit, with the columns of units.parquet (docs/library.md).
    """
    margin = target.units["margin"]
    return margin > margin.median()
