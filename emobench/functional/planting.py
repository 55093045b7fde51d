"""Known damage to the rows of a weight, and the scales that undo it: truth against which a search can be held.

Kinds: ``third`` multiplies rows by 1/3, ``negated`` by -1, ``reversed`` by -3; their inverse undoes it. ``noise`` puts
noise of the same norm in a row's place, ``loud`` of ten times the norm; no scale undoes that, but 0 ends it.
"""

import torch
from torch import Tensor

FACTORS = {"third": 1 / 3, "negated": -1.0, "reversed": -3.0}
NORMS = {"noise": 1.0, "loud": 10.0}
KINDS = (*FACTORS, *NORMS)


def damaged_rows(weight: Tensor, units: Tensor, kind: str, *, generator: torch.Generator) -> Tensor:
    """A copy of a weight in which some rows are damaged.

    Args:
        weight: (units, inputs).
        units: which rows, int64.
        kind: one of KINDS.
        generator: of the noise.

    Raises:
        ValueError: another kind.

    >>> damaged_rows(torch.ones(2, 2), torch.tensor([1]), "negated", generator=torch.Generator())
    tensor([[ 1.,  1.],
            [-1., -1.]])
    """
    _check_kind(kind)
    damaged = weight.clone()
    if kind in FACTORS:
        damaged[units] *= FACTORS[kind]
    else:
        noise = torch.randn(len(units), weight.shape[1], generator=generator).to(weight)
        norms = NORMS[kind] * weight[units].norm(dim=1, keepdim=True)
        damaged[units] = noise * (norms / noise.norm(dim=1, keepdim=True))
    return damaged


def restoring_scale(count: int, units: Tensor, kind: str) -> Tensor | None:
    """The scale (count,) of all rows that undoes the damage; None where there is none.

    >>> restoring_scale(3, torch.tensor([1]), "third")
    tensor([1., 3., 1.])
    """
    _check_kind(kind)
    if kind not in FACTORS:
        return None
    scale = torch.ones(count)
    scale[units] = 1 / FACTORS[kind]
    return scale


def found_share(scale: Tensor, units: Tensor, kind: str) -> tuple[float, float]:
    """Which share of the damaged units a scale moves the right way, and which share of the others it moves so too.

    The right way is up for ``third``, and down for the others: a unit that works against the answer is best removed.

    Args:
        scale: (all units,).
        units: the damaged ones.
        kind: of the damage.

    Returns:
        Shares in [0, 1]; where both are alike, the damage was not found.

    >>> found_share(torch.tensor([1.0, 3.0, 2.0, 1.0]), torch.tensor([1]), "third")
    (1.0, 0.3333333333333333)
    """
    _check_kind(kind)
    moved = scale > 1 if kind == "third" else scale < 1
    damaged = torch.zeros(len(scale), dtype=torch.bool)
    damaged[units] = True
    return moved[damaged].double().mean().item(), moved[~damaged].double().mean().item()


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind of damage is {kind!r}; expected one of {', '.join(KINDS)}")
