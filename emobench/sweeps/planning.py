"""The quickest way through many configurations: what changes from each to the next, or one product for many of them.

Before the last layer the logits are a sum over units: bias + sum_u act(scale_u * output_u + shift_u) * column_u. Where
a set of configurations gives unit u one of the values v_0, v_1, ..., its term is one of as many, computed once: with
D_j = terms of v_j - terms of v_0 (units, images * classes), the logits of all of them are the sum of the terms of v_0
plus sum_j [scale == v_j] @ D_j. Controls that permute a selection's scales need this: neighbours differ in many units.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

MOST_VALUES, MOST_OPERATIONS = 6, 8
UPDATES_BEFORE_REFRESH = 256
"""After so many partial updates the sum is computed anew, so that rounding errors don't pile up."""
MOST_CHANGED, MOST_CHANGED_LAST = 1 / 2, 1 / 5
"""Share of the units; where more of them change, all are computed anew."""
CONFIGS_AT_ONCE = 64

FULL_COST, CHANGE_COST, CALL_COST, TERMS_COST = 4.4, 20.0, 0.3, 13.0
"""Time in products (configs, units) @ (units, images * classes) a configuration, measured at width 1 on one core: all
units anew; a share 1 of the units changed; calling torch for it; the terms of one value."""


@dataclass(frozen=True)
class Group:
    """Configurations whose logits are the terms of a base plus a product for each other value.

    ``configs`` are their indices (n,), ``base`` and each of ``others`` the (scale, shift) of all units, and ``values``
    the scale that marks each of the others. None for ``values``: the one term is multiplied by the scales themselves.
    """

    configs: Tensor
    base: tuple[Tensor, Tensor]
    others: list[tuple[Tensor, Tensor]]
    values: list[float] | None

    def coefficients(self, scales: Tensor, index: int) -> Tensor:
        """What the terms of ``others[index]`` count for in each configuration: (n, units) of (n, units) scales."""
        if self.values is None:
            return scales
        # A comparison into floats is one vectorised pass; into bools and then floats it takes ten times as long.
        return torch.eq(scales, self.values[index], out=torch.empty_like(scales))


def changes(scales: Tensor, shifts: Tensor, last: bool) -> list[Tensor | None]:
    """For each configuration the units that differ from the one before it; None where all are to be computed.

    ``last``: the last layer follows. Its product is so small that picking out units costs more than computing a few.
    """
    most = scales.shape[1] * (MOST_CHANGED_LAST if last else MOST_CHANGED)
    found: list[Tensor | None] = [None] * len(scales)
    updates = 0
    for config in range(1, len(scales)):
        rows = ((scales[config] != scales[config - 1]) | (shifts[config] != shifts[config - 1])).nonzero().squeeze(-1)
        updates += 1
        # A scale of one is always computed as the unedited network is, so that it gives the same bits.
        if updates > UPDATES_BEFORE_REFRESH or len(rows) > most or (scales[config] == 1).all():
            updates = 0
        else:
            found[config] = rows
    return found


def groups(scales: Tensor, shifts: Tensor | None, bias: Tensor, *, homogeneous: bool) -> list[Group]:
    """The sets of configurations that are quicker by products than one after the other; the rest is in none.

    A scale of one everywhere is never in a group: it is to give the same bits as the unedited network.

    Args:
        scales: (configs, units).
        shifts: the same shape; None for the layer's own bias.
        bias: the layer's own, (units,).
        homogeneous: what follows of s times outputs and shift is s times what follows of them, for s >= 0.
    """
    alike: dict[tuple[float, ...] | None, list[int]] = defaultdict(list)
    for config, values in enumerate(distinct_values(scales)):
        if values == (1.0,):
            continue
        scale = scales[config]
        if homogeneous and shifts is not None and (scale >= 0).all() and (shifts[config] == scale * bias).all():
            alike[None].append(config)
        elif values is not None and len(values) > 1:
            alike[values].append(config)
    found: list[Group | None] = []
    for values, members in alike.items():
        configs = torch.tensor(members, device=scales.device)
        for some in [configs] if values is None or shifts is None else _same_shifts(configs, scales, shifts):
            if not _pays(scales[some], others=1 if values is None else len(values) - 1):
                continue
            if values is None:
                found.append(_rectified(some, bias))
            else:
                own = bias.expand(len(some), -1) if shifts is None else shifts[some]
                found.append(_marked(some, values, scales[some], own))
    return [group for group in found if group]


def distinct_values(scales: Tensor) -> Iterator[tuple[float, ...] | None]:
    """The distinct values of each configuration (configs, units), ascending; None for more than MOST_VALUES."""
    for some in scales.split(CONFIGS_AT_ONCE):
        values, differs = [some.amin(1), some.amax(1)], torch.empty_like(some)
        left = torch.ne(some, values[0][:, None], out=torch.empty_like(some))
        left *= torch.ne(some, values[1][:, None], out=differs)
        while len(values) < MOST_VALUES and left.amax() > 0:
            values.append(some.gather(1, left.argmax(1, keepdim=True)).squeeze(1))
            left *= torch.ne(some, values[-1][:, None], out=differs)
        for row, more in zip(torch.stack(values, 1).tolist(), left.amax(1).tolist(), strict=True):
            yield None if more else tuple(sorted(set(row)))


def _pays(scales: Tensor, others: int) -> bool:
    """Whether products are quicker than computing what changes from each configuration to the next."""
    changed = []
    for some in range(1, len(scales), CONFIGS_AT_ONCE):
        later, earlier = scales[some : some + CONFIGS_AT_ONCE], scales[some - 1 : some - 1 + CONFIGS_AT_ONCE]
        changed += torch.ne(later, earlier[: len(later)], out=torch.empty_like(later)).mean(1).tolist()
    singly = FULL_COST + sum(min(FULL_COST, CALL_COST + CHANGE_COST * share) for share in changed)
    return FULL_COST + others * (TERMS_COST + len(scales)) < singly


def _same_shifts(configs: Tensor, scales: Tensor, shifts: Tensor) -> Iterator[Tensor]:
    """Splits configurations by operation: those whose shifts are the first one's where their scales are."""
    for _ in range(MOST_OPERATIONS):
        if len(configs):
            first = configs[0]
            fits = ((scales[configs] != scales[first]) | (shifts[configs] == shifts[first])).all(1)
            yield configs[fits]
            configs = configs[~fits]


def _rectified(configs: Tensor, bias: Tensor) -> Group:
    """Rows and bias scaled alike, by no less than 0: relu(s * output + s * bias) = s * relu(output + bias)."""
    nothing = torch.zeros_like(bias)
    return Group(configs, (nothing, nothing), [(torch.ones_like(bias), bias)], None)


def _marked(configs: Tensor, values: tuple[float, ...], scales: Tensor, shifts: Tensor) -> Group | None:
    """Configurations of the same few values. None where a unit has two shifts for one value."""
    pairs = []
    for value in values:
        chosen = scales == value
        high = shifts.masked_fill(~chosen, -torch.inf).amax(0)
        if (chosen & (shifts != high)).any():
            return None
        # A value that a unit never takes counts nowhere, so any shift does.
        pairs.append((torch.full_like(high, value), high.nan_to_num(neginf=0.0)))
    return Group(configs, pairs[0], pairs[1:], list(values[1:]))
