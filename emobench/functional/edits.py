"""Edits of one layer: which units are strengthened, by how much, and the weights that result.

A scale is float32 (units,): the factor of each row of the layer's weight. A shift (units,) is the layer's new bias;
without one the bias is left alone, as in the seed's code. An edit returns new weights; what it was given is never
changed.
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


def lone_scale(selected: Tensor, factor: float) -> Tensor:
    """Factor for the selected rows; the others are left alone.

    >>> lone_scale(torch.tensor([True, False]), 2.0)
    tensor([2., 1.])
    """
    return torch.where(selected, factor, 1.0)


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


def output_shift(operation: str, scale: Tensor, bias: Tensor, mean: Tensor | None = None) -> Tensor | None:
    """What an operation adds to scale * (bias-free output of each unit): the layer's new bias.

    Args:
        operation: ``rows`` scales the weight's rows alone (the seed's edit); ``rows_bias`` and ``zero`` the bias too,
            so that a scale of 0 gives the output 0; ``mean`` moves each output towards its mean, so that a scale of 0
            gives the mean.
        scale: (units,).
        bias: the layer's bias (units,).
        mean: each unit's mean output (units,), for ``mean``.

    Returns:
        (units,), or None: the bias stays as it is.

    >>> scale, bias = torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1.0])
    >>> output_shift("rows_bias", scale, bias), output_shift("mean", scale.clamp(max=1), bias, torch.tensor([5.0, 5.0]))
    (tensor([2., 0.]), tensor([1., 5.]))
    """
    if operation == "rows":
        return None
    if operation != "mean":
        return scale * bias
    if mean is None:
        raise ValueError("mean: expected each unit's mean output for the operation mean; got None")
    return scale * bias + (1 - scale) * mean


def ranged(values: Tensor, factor: Tensor, threshold: Tensor, *, above: bool) -> Tensor:
    """Scales what lies beyond a threshold, by its distance from it, and leaves the rest alone.

    Above: z + (factor - 1) * relu(z - threshold). It is continuous in z, and a factor of 0 cuts off at the threshold.

    Args:
        values: outputs of units (...).
        factor: of any shape that fits ``values``; 1 changes nothing.
        threshold: the same.
        above: whether what is above is scaled, or what is below.

    >>> z, factor, threshold = torch.tensor([0.0, 1.0, 3.0]), torch.tensor(2.0), torch.tensor(1.0)
    >>> ranged(z, factor, threshold, above=True), ranged(z, factor, threshold, above=False)
    (tensor([0., 1., 5.]), tensor([-1.,  1.,  3.]))
    """
    side = 1.0 if above else -1.0
    return values + (side * (factor - 1)) * (side * (values - threshold)).relu()


def edited_state(
    state: Mapping[str, Tensor], weight: str, scale: Tensor, shift: Tensor | None = None, *, bias: str | None = None
) -> dict[str, Tensor]:
    """A new state_dict with the rows of one layer's weight scaled and, with a shift, another bias.

    Everything else is a plain copy.

    Args:
        state: name -> tensor.
        weight: the name of the layer's weight (units, ...).
        scale: (units,).
        shift: the new bias (units,); None leaves the bias alone.
        bias: the name of the layer's bias (units,); None where it has none: then only a shift of zeros is possible.

    Raises:
        ValueError: no such weight, one without rows, another number of units, values that are not finite, or a shift
            where there is no bias.

    >>> state = {"lin.weight": torch.ones(1, 2), "lin.bias": torch.ones(1)}
    >>> edited_state(state, "lin.weight", torch.tensor([3.0]))
    {'lin.weight': tensor([[3., 3.]]), 'lin.bias': tensor([1.])}
    >>> edited_state(state, "lin.weight", torch.tensor([3.0]), torch.tensor([0.5]), bias="lin.bias")["lin.bias"]
    tensor([0.5000])
    """
    if weight not in state or state[weight].ndim < 2:
        known = [name for name, value in state.items() if value.ndim > 1]
        raise ValueError(f"{weight} has no rows to scale; weights that have: {', '.join(known)}")
    edited = {name: scaled_rows(value, scale) if name == weight else value.clone() for name, value in state.items()}
    if shift is None:
        return edited
    if shift.shape != (len(scale),) or not shift.isfinite().all():
        raise ValueError(f"shift is {tuple(shift.shape)}; expected finite numbers ({len(scale)},)")
    if bias is not None:
        edited[bias] = shift.to(edited[bias]).clone()
    elif shift.any():
        raise ValueError(f"{weight} has no bias that a shift could stand in")
    return edited


def _refuse_nan(name: str, values: Tensor) -> None:
    if values.isnan().any():
        raise ValueError(f"{name}: {int(values.isnan().sum())} of {len(values)} units have NaN")
