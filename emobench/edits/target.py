"""The layer that is edited, what is known of its units, and one edit of it as a named configuration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import torch
from torch import Tensor

from emobench.errors import UserError
from emobench.functional.edits import is_degenerate, lone_scale, output_shift, proportional_scale, selection_scale
from emobench.networks.network import Network
from emobench.settings.edit import Edit


@dataclass(frozen=True)
class Configuration:
    """One edit: scale and shift (units,) float32, and the columns that describe it in configs.parquet.

    Without a shift the bias is left alone. ``status`` is ``degenerate`` where a selection holds no unit or all of them:
    then the layer is scaled as a whole. ``rows_differing``: of a control, how many rows differ from its edit's.
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
    operation: str = "rows"
    shift: Tensor | None = None
    rows_differing: int | None = None

    def columns(self) -> dict[str, object]:
        """The columns, with how many rows grow and how many shrink."""
        described = {name: value for name, value in vars(self).items() if name not in ("scale", "shift")}
        return described | {"n_up": int((self.scale > 1).sum()), "n_down": int((self.scale < 1).sum())}


@dataclass(frozen=True)
class Target:
    """The layer to edit and what is known of its units.

    Args:
        edit: what is asked for.
        layer: the layer's name.
        weight: its weight (units, ...).
        bias: its bias (units,).
        mean: each unit's mean output (units,), for the operation ``mean``; None leaves that operation out.
        units: its rows of units.parquet (see unit_table).
        effects: its rows of unit_effects.parquet, in the same order: what removing a unit does on val.
        classes: of the data.
        concepts: the classes that each concept speaks for.
    """

    edit: Edit
    layer: str
    weight: Tensor
    bias: Tensor
    mean: Tensor | None
    units: pd.DataFrame
    effects: pd.DataFrame
    classes: tuple[str, ...]
    concepts: Mapping[str, Sequence[str]]

    @cached_property
    def similarity(self) -> Tensor:
        """The best similarity of each unit (units,)."""
        return torch.tensor(self.units["similarity"].to_numpy())

    def column(self, arm: str, *names: str) -> pd.Series:
        """The first of these columns of units.parquet that holds any number.

        Raises:
            UserError: none of them does.
        """
        for name in names:
            if name in self.units and self.units[name].notna().any():
                return self.units[name]
        raise UserError(
            f"units.parquet has no {' or '.join(names)} for {self.layer}, which arm {arm} selects by; "
            f"run dvc repro dissect, or leave {arm} out of edit.arms"
        )

    def shift(self, operation: str, scale: Tensor) -> Tensor | None:
        """The layer's new bias under an operation; None if it stays."""
        return output_shift(operation, scale, self.bias, self.mean)

    def selection(
        self, arm: str, selected: Tensor, factor: float | None, *, tau: float | None = None,
        criterion: str | None = None, operation: str = "rows", divided: bool = True,
    ) -> Configuration:  # fmt: skip
        """Selected rows by the factor (None: replaced, a scale of 0), and the others divided by it or left alone.

        Raises:
            UserError: a factor of 0 where the other rows are to be divided by it.
        """
        if not divided:
            scale = lone_scale(selected, factor or 0.0)
        elif factor is None or factor <= 0:
            raise UserError(f"params: edit: factor {factor} in arm {arm}, which divides by it; expected more than 0")
        else:
            scale = selection_scale(selected, factor)
        name, status = self._config_id(arm, factor, tau, criterion, operation), _status(selected)
        shift = self.shift(operation, scale)
        return Configuration(name, arm, scale, status, criterion or arm, tau, factor, operation=operation, shift=shift)

    def operations(
        self, arm: str, selected: Tensor, *, divided: bool, criterion: str | None = None
    ) -> Iterator[Configuration]:
        """Every operation asked for on a selection: by each factor, or once where the output is replaced."""
        factors = self.edit.divided_factors if divided else self.edit.lone_factors
        for operation in dict.fromkeys(self.edit.operations):
            if operation == "mean" and self.mean is None:
                # Without a bias the layer can't put out a mean: no weights would do that.
                continue
            if operation in ("zero", "mean"):
                yield self.selection(arm, selected, None, criterion=criterion, operation=operation, divided=False)
            else:
                for factor in factors:
                    yield self.selection(
                        arm, selected, factor, criterion=criterion, operation=operation, divided=divided
                    )

    def proportional(self, factor: float) -> Configuration:
        """Every row by its own similarity."""
        status = _status(self.similarity > self.similarity.min())
        scale, name = proportional_scale(self.similarity, factor), self._config_id("proportional", factor)
        return Configuration(name, "proportional", scale, status, "similarity", factor=factor)

    def _config_id(
        self, arm: str, factor: float | None, tau: float | None = None, criterion: str | None = None, operation="rows"
    ) -> str:
        """A readable name, unique within one benchmark."""
        words = [self.layer, arm]
        if criterion is not None:
            words.append(criterion.split(":")[1])
        if arm not in ("weight_norm", "effect"):
            words += [self.edit.concept_set, self.edit.similarity_fn]
        if operation != "rows":
            words.append(operation)
        if tau is not None:
            words.append(f"tau{_shown(tau, '+')}")
        return "-".join(words if factor is None else [*words, f"f{_shown(factor)}"])


def layer_weight(network: Network, layer: str) -> Tensor:
    """The layer's weight (units, ...), on the CPU."""
    return network.model.state_dict()[network.card.layer(layer).weight].detach().cpu()


def layer_bias(network: Network, layer: str) -> Tensor:
    """The layer's bias (units,), on the CPU; zeros where it has none."""
    card = network.card.layer(layer)
    return torch.zeros(card.units) if card.bias is None else network.model.state_dict()[card.bias].detach().cpu()


def unit_table(edit: Edit, layer: str, units: pd.DataFrame) -> pd.DataFrame:
    """A layer's rows of units.parquet for the dissection that counts, in the order of units.

    Raises:
        UserError: the dissection asked for is not in the table.
    """
    chosen = (units["layer"] == layer) & (units["concept_set"] == edit.concept_set)
    rows = units[chosen & (units["similarity_fn"] == edit.similarity_fn)].sort_values("unit", ignore_index=True)
    if rows.empty or rows["unit"].tolist() != list(range(len(rows))):
        raise UserError(
            f"units.parquet: expected each unit of {layer} once for {edit.concept_set} and {edit.similarity_fn}; "
            "run dvc repro dissect"
        )
    return rows


def stacked(configs: Sequence[Configuration], bias: Tensor) -> tuple[Tensor, Tensor | None]:
    """Scales (configs, units) and shifts (the same shape; None where no configuration changes the bias)."""
    scales = torch.stack([configuration.scale for configuration in configs])
    if all(configuration.shift is None for configuration in configs):
        return scales, None
    return scales, torch.stack([bias if one.shift is None else one.shift for one in configs])


def _status(selected: Tensor) -> str:
    return "degenerate" if is_degenerate(selected) else "ok"


def _shown(value: float, sign: str = "") -> str:
    """Two decimals, or as many as the number needs."""
    short = f"{value:{sign}.2f}"
    return short if float(short) == value else f"{value:{sign}}"
