"""Edits of one layer as row scales: which units are strengthened, by how much, and the weights that result.

A scale is float32 (units,): the factor of each row of the layer's weight. The bias is left alone, as in the
seed's code. An edit returns new weights; what it was given is never changed.
"""

from collections.abc import Mapping

import torch
from torch import Tensor


def row_norms(weight: Tensor) -> Tensor:
    """L1 norm of each row of a weight (units, ...): (units,).

    >>> row_norms(torch.tensor([[1.0, -2.0], [0.5, 0.0]]))
    tensor([3.0000, 0.5000])
    """
    return weight.flatten(1).abs().sum(1)


def above(values: Tensor, threshold: float) -> Tensor:
    """Selects the units whose value is greater than the threshold: (units,) bool.

    Raises:
        ValueError: a value is NaN.

    >>> above(torch.tensor([0.1, 0.0, -0.2]), 0.0)
    tensor([ True, False, False])
    """
    _refuse_nan("values", values)
    return values > threshold


def is_degenerate(selected: Tensor) -> bool:
    """Whether a selection holds no unit or all of them, so that the edit only scales the layer as a whole.

    >>> is_degenerate(torch.tensor([True, True])), is_degenerate(torch.tensor([True, False]))
    (True, False)
    """
    return bool(selected.all() or not selected.any())


def selection_scale(selected: Tensor, factor: float) -> Tensor:
    """The seed's edit: factor for the selected rows, 1/factor for the others (paper, section 3.3).

    Args:
        selected: (units,) bool.
        factor: greater than 0.

    Raises:
        ValueError: a factor that has no inverse.

    >>> selection_scale(torch.tensor([True, False]), 2.0)
    tensor([2.0000, 0.5000])
    """
    if not 0 < factor < float("inf"):
        raise ValueError(f"factor is {factor}; rows that are not selected are divided by it: expected more than 0")
    return torch.where(selected, factor, 1 / factor)


def proportional_scale(similarity: Tensor, factor: float) -> Tensor:
    """The seed's third variant: factor * (s - min) / (max - min), from 0 for the least similar unit to factor.

    Where all similarities are equal, every unit is the most similar one.

    Args:
        similarity: (units,).
        factor: the scale of the most similar unit.

    Raises:
        ValueError: a similarity is NaN.

    >>> proportional_scale(torch.tensor([-1.0, 0.0, 1.0]), 3.0)
    tensor([0.0000, 1.5000, 3.0000])
    """
    _refuse_nan("similarity", similarity)
    low, high = similarity.min(), similarity.max()
    if low == high:
        return torch.full_like(similarity, factor).float()
    return (factor * ((similarity - low) / (high - low))).float()


def scaled_rows(weight: Tensor, scale: Tensor) -> Tensor:
    """A new weight (units, ...) whose rows are multiplied by scale (units,).

    Raises:
        ValueError: another number of units, or a scale that is not finite.

    >>> scaled_rows(torch.ones(2, 2), torch.tensor([2.0, 0.5]))
    tensor([[2.0000, 2.0000],
            [0.5000, 0.5000]])
    """
    if scale.shape != weight.shape[:1]:
        raise ValueError(f"scale is {tuple(scale.shape)}; the weight {tuple(weight.shape)} needs ({len(weight)},)")
    if not scale.isfinite().all():
        raise ValueError("scale holds NaN or infinity")
    return weight * scale.to(weight).reshape(-1, *[1] * (weight.ndim - 1))


def edited_state(state: Mapping[str, Tensor], layer: str, scale: Tensor) -> dict[str, Tensor]:
    """A new state_dict with the rows of one layer's weight scaled. Everything else, the bias too, is a plain copy.

    Args:
        state: name -> tensor.
        layer: a layer with ``<layer>.weight`` (units, ...).
        scale: (units,).

    Raises:
        ValueError: no such layer, another number of units, or a scale that is not finite.

    >>> state = {"lin.weight": torch.ones(1, 2), "lin.bias": torch.ones(1)}
    >>> edited_state(state, "lin", torch.tensor([3.0]))
    {'lin.weight': tensor([[3., 3.]]), 'lin.bias': tensor([1.])}
    """
    key = f"{layer}.weight"
    if key not in state:
        raise ValueError(f"no {key} among the weights; layers: {sorted({name.split('.')[0] for name in state})}")
    return {name: scaled_rows(value, scale) if name == key else value.clone() for name, value in state.items()}


def _refuse_nan(name: str, values: Tensor) -> None:
    if values.isnan().any():
        raise ValueError(f"{name}: {int(values.isnan().sum())} of {len(values)} units have NaN")
