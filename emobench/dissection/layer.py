"""One layer's dissection as columns: from activations and concept scores to the rows of the unit and layer tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from emobench.concepts.scores import ConceptScores
from emobench.dissection.scorers import Scorer
from emobench.functional import interpretability
from emobench.functional.columns import constant_columns
from emobench.functional.faithfulness import METRICS
from emobench.functional.similarity.nulls import q_values

QUANTILES = torch.linspace(0, 1, 101)
"""Of the null, kept for figures."""


@dataclass(frozen=True)
class Layer:
    """A layer on the probe: activations (images, units), labels (images,), sorted top images (k, units).

    ``shown`` is how many top images the accuracy of Table 1 looks at.
    """

    activations: Tensor
    labels: Tensor
    top: Tensor
    shown: int


@dataclass(frozen=True)
class Dissected:
    """A layer described by one concept set and one function.

    Attributes:
        similarity: (units, concepts).
        best: (units,) index of each unit's description.
        units: the columns of the unit table, each of length units.
        row: the layer's row of Table 1 with what stands beside it.
        null: quantiles of the null's best similarity and how often each concept is best, there and among the units.
    """

    similarity: Tensor
    best: Tensor
    units: dict[str, Any]
    row: dict[str, float]
    null: dict[str, list[float]]


def dissect_layer(layer: Layer, concepts: ConceptScores, scorer: Scorer, *, tau: float, fdr: float) -> Dissected:
    """Describes every unit of a layer by one concept set and one score function.

    Args:
        layer: the layer on the probe.
        concepts: the concept set, scored on the same images.
        scorer: the function, made for these scores.
        tau: similarity above which a unit counts as interpretable (the paper's rule).
        fdr: false discovery rate at which a unit's best similarity counts as different from chance.
    """
    similarity, null = scorer.judge(layer.activations, layer.top)
    found = interpretability.describe(similarity)
    accuracy = interpretability.label_accuracy(layer.top[: layer.shown], layer.labels, concepts.membership, found.best)
    chance = interpretability.label_chance(layer.labels, concepts.membership)[found.best]
    dead = constant_columns(layer.activations)
    # A constant unit's top images are the first ones of the probe: whatever it scores says nothing.
    p_values = torch.where(dead, 1.0, null.p_values())
    adjusted, effect = q_values(p_values), null.effect(found.similarity)
    significant = adjusted < fdr
    units = {
        "description": [concepts.concepts[index] for index in found.best.tolist()],
        "similarity": found.similarity.tolist(),
        "runner_up": [concepts.concepts[index] for index in found.runner_up.tolist()],
        "margin": found.margin.tolist(),
        "label_accuracy": accuracy.tolist(),
        "chance": chance.tolist(),
        "lift": (accuracy / chance).tolist(),
        "null_p": p_values.tolist(),
        "q_value": adjusted.tolist(),
        "significant": significant.tolist(),
        "effect": effect.tolist(),
        "dead": dead.tolist(),
    }
    row = interpretability.layer_summary(found.similarity, accuracy, chance, tau)
    row |= {"num_significant": int(significant.sum()), "prop_significant": significant.double().mean().item()}
    quantiles = torch.quantile(null.sample.double(), QUANTILES.double()).tolist()
    row |= {"effect": effect.median().item(), "null_median": quantiles[50], "null_p95": quantiles[95]}
    shares = torch.bincount(found.best, minlength=similarity.shape[1]).double() / len(similarity)
    drawn = {"quantiles": quantiles, "null_shares": null.best.tolist(), "unit_shares": shares.tolist()}
    return Dissected(similarity, found.best, units, row | {"dead": int(dead.sum())}, drawn)


def held_out_columns(
    agreements: Mapping[str, Mapping[str, Tensor]], best: Tensor
) -> tuple[dict[str, list[float]], list[dict[str, Any]]]:
    """What the held-out images say of a layer's descriptions, beside three controls.

    Controls: a random description (the mean over all concepts), the same concept for all units (the layer's most
    frequent description), and the best possible one for each unit. All are means over the units that can be measured.

    Args:
        agreements: source (clip, measured) -> metric -> (units, concepts), from ``faithfulness.agreement``.
        best: (units,) index of each unit's description.

    Returns:
        The columns ``<source>_<metric>`` of the unit table, and a row for each source and metric: source, metric,
        units (how many are measured), described, random, constant, best.
    """
    columns, rows = {}, []
    for source, scores in agreements.items():
        for metric in METRICS:
            table = scores[metric].double()
            described = table.gather(1, best[:, None])[:, 0]
            columns[f"{source}_{metric}"] = described.tolist()
            measured = described.isfinite()
            table, chosen = table[measured], best[measured]
            row = {"source": source, "metric": metric, "units": len(table)}
            constant = table[:, torch.bincount(chosen).argmax()].nanmean().item() if len(table) else torch.nan
            row |= {"described": described.nanmean().item(), "random": table.nanmean(dim=1).mean().item()}
            row |= {
                "constant": constant,
                "best": _nan_to_low(table).amax(dim=1).mean().item() if len(table) else constant,
            }
            rows.append(row)
    return columns, rows


def truly_best(agreement: Tensor, best: Tensor) -> dict[str, float]:
    """How often a unit's description is the concept that its activation follows most on held-out images.

    Args:
        agreement: (units, concepts), NaN where a concept isn't measured.
        best: (units,) index of each unit's description.

    Returns:
        ``top1`` and ``top3``: share of units whose description is the best and among the three best; the same for a
        random description; over the ``units`` that can be measured. A description that isn't measured misses.

    >>> truly_best(torch.tensor([[0.1, 0.9, 0.2, 0.0], [0.3, 0.1, 0.2, 0.4]]), torch.tensor([1, 1]))["top1"]
    0.5
    """
    measured = agreement.isfinite().any(dim=1)
    table, best = agreement[measured], best[measured]
    own = table.gather(1, best[:, None])
    rank = torch.where(own[:, 0].isfinite(), (_nan_to_low(table) > own).sum(dim=1), table.shape[1])
    candidates = table.isfinite().sum(dim=1).double()
    result: dict[str, float] = {"units": int(measured.sum())}
    for count in (1, 3):
        result[f"top{count}"] = (rank < count).double().mean().item()
        result[f"top{count}_random"] = (count / candidates).clamp(max=1).mean().item()
    return result


def _nan_to_low(table: Tensor) -> Tensor:
    return torch.where(table.isnan(), -torch.inf, table)
