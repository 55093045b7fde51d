"""Controls: what the same search on val finds when luck or a simpler change takes the place of a criterion.

Each edit that is judged (see emobench.edits.family) is accompanied by controls on the same layer. A control looks at
the same cells as its arm, changed in one way, and takes the one that is best on val by the same rule; the published
cell was not searched for, so its controls change that one cell. Kinds, which are the ``arm`` of their configurations:

- ``random``: all cells with the units permuted, one permutation a draw;
- ``decile``: the same, but units change places only within tenths of the rows' L1 norms;
- ``uniform``: all rows by one factor, of the cells' factors and their inverses; a search has exponents, no factors:
  there it is the paper's;
- ``inverse``: all cells with 1/scale; rows with a scale of 0 have no inverse and are left alone;
- ``temperature``: the baseline's logits divided by its temperature. Nothing to search.

Random kinds are drawn until their verdict is settled (see emobench.edits.drawing). ``criterion`` is the arm that a
control accompanies, or ``paper``; ``seed`` is the number of the draw.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.edits.family import PAPER_NAME, RANDOM_KINDS, SEARCH
from emobench.edits.target import Configuration, Target, stacked
from emobench.functional.edits import row_norms

DECILES = 10


@dataclass(frozen=True)
class Search:
    """One control's search on val: the control without its choice, and the cells to choose from."""

    control: Configuration
    cells: list[Configuration]

    def choice(self, cell: Configuration, edit: Configuration, bias: Tensor) -> Configuration:
        """The control with one of the cells as its choice, told apart from the edit that it accompanies."""
        scales, shifts = stacked([edit, cell], bias)
        differs = scales[0] != scales[1] if shifts is None else (scales[0] != scales[1]) | (shifts[0] != shifts[1])
        kept = {name: getattr(cell, name) for name in ("scale", "shift", "tau", "factor", "operation")}
        return replace(self.control, rows_differing=int(differs.sum()), **kept)


def accompanied(members: pd.DataFrame, configs: Iterable[Configuration]) -> dict[str, list[Configuration]]:
    """For each member of the family the edit and then the cells it was chosen from: name -> configurations.

    Args:
        members: see family.
        configs: all that were tried.

    Returns:
        Keys are arms, and ``paper`` for the published cell, whose only cell is itself.
    """
    by_id = {one.config_id: one for one in configs}
    found = {}
    for member in members.to_dict("records"):
        edit = by_id[member["config_id"]]
        cells = [one for one in by_id.values() if one.arm == edit.arm and one.status == "ok"]
        published = member["selected_on"] == "paper"
        found[PAPER_NAME if published else edit.arm] = [edit, *([edit] if published else cells)]
    return found


def random_searches(
    target: Target, name: str, edit: Configuration, cells: Sequence[Configuration], kind: str, draws: Iterable[int],
    *, seed: int,
) -> Iterator[Search]:  # fmt: skip
    """The searches of some draws of one kind of random control of one edit.

    Args:
        target: the layer.
        name: see accompanied.
        edit: the edit that is judged.
        cells: what it was chosen from.
        kind: one of RANDOM_KINDS.
        draws: their numbers.
        seed: of the benchmark; a draw's permutation depends on it, the kind and the draw alone.
    """
    groups = norm_deciles(target.weight) if kind == "decile" else np.zeros(len(target.weight), int)
    for draw in draws:
        order = shuffled(groups, np.random.default_rng((seed, RANDOM_KINDS.index(kind), draw)))
        changed = [_changed(target, cell, cell.scale[order]) for cell in cells]
        yield Search(blank(target.layer, name, edit, kind, draw), changed)


def single_searches(
    target: Target, name: str, edit: Configuration, cells: Sequence[Configuration]
) -> tuple[Search, Search]:
    """The searches of the uniform and the inverse control of one edit (see random_searches)."""
    own = [] if edit.arm.startswith(SEARCH) else [cell.factor for cell in cells if cell.factor]
    factors = own or target.edit.factors
    ones = torch.ones(len(target.weight))
    uniform = [
        _changed(target, replace(cells[0], factor=factor, operation=operation, tau=None), factor * ones)
        for operation in dict.fromkeys("rows" if cell.operation == "rows" else "rows_bias" for cell in cells)
        for factor in dict.fromkeys(value for factor in factors if factor > 0 for value in (factor, 1 / factor))
    ]
    inverse = [_changed(target, cell, torch.where(cell.scale == 0, 1.0, 1 / cell.scale)) for cell in cells]
    return (
        Search(blank(target.layer, name, edit, "uniform"), uniform),
        Search(blank(target.layer, name, edit, "inverse"), inverse),
    )


def blank(layer: str, name: str, edit: Configuration, kind: str, draw: int | None = None) -> Configuration:
    """A control that changes nothing yet."""
    words = [layer, name, kind] if draw is None else [layer, name, kind, f"{draw:03d}"]
    ones = torch.ones_like(edit.scale)
    return Configuration("-".join(words), kind, ones, criterion=name, control_of=edit.config_id, seed=draw)


def norm_deciles(weight: Tensor) -> np.ndarray:
    """Which tenth of the rows each row is in by its L1 norm: (units,) integers from 0 for the smallest."""
    ranks = row_norms(weight).argsort(stable=True).argsort(stable=True).numpy()
    return ranks * DECILES // len(ranks)


def shuffled(groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A random order of units (units,) in which each stays in its group.

    Args:
        groups: the group of each unit (units,).
        generator: of the order.
    """
    order = np.arange(len(groups))
    for group in np.unique(groups):
        at = np.flatnonzero(groups == group)
        order[at] = generator.permutation(at)
    return order


def _changed(target: Target, cell: Configuration, scale: Tensor) -> Configuration:
    """A cell with another scale and the shift that its operation gives it."""
    return replace(cell, scale=scale, shift=target.shift(cell.operation, scale))
