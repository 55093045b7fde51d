"""Which edits are tried: the arms of params.edit as named configurations, each with the scale of every row."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from emobench.errors import UserError
from emobench.functional.edits import above, is_degenerate, proportional_scale, row_norms, selection_scale
from emobench.params import LAYERS, Edit
from emobench.registry import Registry

ARMS = Registry("arm")
"""Name -> function of a Target that yields its configurations."""


@dataclass(frozen=True)
class Configuration:
    """One edit: scale (units,) float32, and the columns that describe it in configs.parquet.

    ``status`` is ``degenerate`` where a selection holds no unit or all of them: then the layer is scaled as a whole.
    """

    config_id: str
    arm: str
    scale: Tensor
    status: str = "ok"
    criterion: str | None = None
    tau: float | None = None
    factor: float | None = None
    control_of: str | None = None
    seed: int | None = None

    def columns(self) -> dict[str, object]:
        """The columns, with how many rows grow and how many shrink."""
        described = {name: value for name, value in vars(self).items() if name != "scale"}
        return described | {"n_up": int((self.scale > 1).sum()), "n_down": int((self.scale < 1).sum())}


@dataclass(frozen=True)
class Target:
    """The layer to edit: its weight (units, ...), the best similarity of each unit (units,), and what is asked for."""

    edit: Edit
    layer: str
    weight: Tensor
    similarity: Tensor

    def config_id(self, arm: str, factor: float, tau: float | None = None) -> str:
        """A readable name, unique within one benchmark."""
        words = [self.layer, arm]
        if arm != "weight_norm":
            words += [self.edit.concept_set, self.edit.similarity_fn]
        if tau is not None:
            words.append(f"tau{_shown(tau, '+')}")
        return "-".join([*words, f"f{_shown(factor)}"])


def configurations(edit: Edit, layer: str, weight: Tensor, similarity: Tensor) -> list[Configuration]:
    """The baseline (all scales one) and then every configuration of the arms asked for, each once.

    Args:
        edit: what is asked for.
        layer: the layer to edit.
        weight: its weight (units, ...).
        similarity: the best similarity of each of its units (units,).

    Raises:
        UserError: a factor of 0 where 1/factor is needed, or similarities that are NaN or of another number of units.
    """
    if similarity.shape != weight.shape[:1]:
        raise UserError(
            f"layer {layer} has {len(weight)} units, the unit table {len(similarity)}; run dvc repro dissect"
        )
    if similarity.isnan().any():
        raise UserError(
            f"layer {layer}: {int(similarity.isnan().sum())} units have no similarity; run dvc repro dissect"
        )
    target = Target(edit, layer, weight, similarity)
    found = [Configuration("baseline", "baseline", torch.ones(len(weight)))]
    for arm in edit.arms:
        found += ARMS[arm](target)
    return list({configuration.config_id: configuration for configuration in found}.values())


def choose_layer(edit: Edit, layers: pd.DataFrame) -> str:
    """The layer named in params, or with ``auto`` the one with the most interpretable units (paper, section 3.3).

    Args:
        edit: concept_set and similarity_fn say which dissection counts.
        layers: layers.parquet. Of layers with as many units the first is taken.

    Raises:
        UserError: the dissection asked for is not in the table.
    """
    if edit.layer != "auto":
        return edit.layer
    rows = layers[(layers["concept_set"] == edit.concept_set) & (layers["similarity_fn"] == edit.similarity_fn)]
    counts = rows.set_index("layer")["num_interp"].reindex(LAYERS[:-1]).dropna()
    if counts.empty:
        raise UserError(
            f"layers.parquet has no layer for {edit.concept_set} and {edit.similarity_fn}; run dvc repro dissect"
        )
    return str(counts.idxmax())


def unit_similarity(edit: Edit, layer: str, units: pd.DataFrame) -> Tensor:
    """Best similarity of each unit of a layer (units,), in the order of units, from units.parquet.

    Raises:
        UserError: the dissection asked for is not in the table.
    """
    chosen = (units["layer"] == layer) & (units["concept_set"] == edit.concept_set)
    rows = units[chosen & (units["similarity_fn"] == edit.similarity_fn)].sort_values("unit")
    if rows.empty or rows["unit"].tolist() != list(range(len(rows))):
        raise UserError(
            f"units.parquet: expected each unit of {layer} once for {edit.concept_set} and {edit.similarity_fn}; "
            "run dvc repro dissect"
        )
    return torch.tensor(rows["similarity"].to_numpy())


@ARMS.register("similarity")
def _similarity(target: Target) -> Iterator[Configuration]:
    """The whole grid of thresholds and factors, and the published cell. Neighbours in tau differ in few units."""
    edit = target.edit
    cells = [(tau, factor) for factor in edit.factors for tau in edit.taus]
    for tau, factor in dict.fromkeys([*cells, (edit.paper.tau, edit.paper.factor)]):
        selected = above(target.similarity, tau)
        yield _selection(target, "similarity", selected, factor, tau)


@ARMS.register("weight_norm")
def _weight_norm(target: Target) -> Iterator[Configuration]:
    """The rows whose L1 norm is above the mean (the paper's text in section 4.2)."""
    norms = row_norms(target.weight)
    for factor in target.edit.factors:
        yield _selection(target, "weight_norm", above(norms, float(norms.mean())), factor)


@ARMS.register("proportional")
def _proportional(target: Target) -> Iterator[Configuration]:
    """Every row by its own similarity."""
    status = _status(target.similarity > target.similarity.min())
    for factor in target.edit.factors:
        scale, name = proportional_scale(target.similarity, factor), target.config_id("proportional", factor)
        yield Configuration(name, "proportional", scale, status, "similarity", factor=factor)


def _selection(target: Target, arm: str, selected: Tensor, factor: float, tau: float | None = None) -> Configuration:
    if factor <= 0:
        raise UserError(f"params: edit: factor {factor} in arm {arm}, which divides by it; expected more than 0")
    name, scale = target.config_id(arm, factor, tau), selection_scale(selected, factor)
    return Configuration(name, arm, scale, _status(selected), arm, tau, factor)


def _status(selected: Tensor) -> str:
    return "degenerate" if is_degenerate(selected) else "ok"


def _shown(value: float, sign: str = "") -> str:
    """Two decimals, or as many as the number needs."""
    short = f"{value:{sign}.2f}"
    return short if float(short) == value else f"{value:{sign}}"
