"""Controls: what the same search on val finds when luck or a simpler change takes the place of a criterion.

Each edit that is judged (see emobench.networks.family) is accompanied by controls on the same layer. A control looks at
the same cells as its arm, changed in one way, and takes the one that is best on val by the same rule; the published
cell was not searched for, so its controls change that one cell. Kinds, which are the ``arm`` of their configurations:

- ``random``: all cells with the units permuted, one permutation a draw;
- ``decile``: the same, but units change places only within tenths of the rows' L1 norms;
- ``uniform``: all rows by one factor, of the cells' factors and their inverses; a search has strengths, no factors:
  there it is the paper's;
- ``inverse``: all cells with 1/scale; rows with a scale of 0 have no inverse and are left alone;
- ``temperature``: the baseline's logits divided by its temperature. Nothing to search.

``criterion`` is the arm that a control accompanies, or ``paper``; ``seed`` is the number of the draw.
"""

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.functional.calibration import fit_temperature
from emobench.functional.edits import row_norms
from emobench.networks.family import PAPER_NAME, RANDOM_KINDS, SEARCH, best_index
from emobench.networks.measuring import Bench, Measured
from emobench.networks.target import Configuration, Target, stacked

DECILES = 10
Evaluate = Callable[[Sequence[Configuration]], tuple[np.ndarray, np.ndarray]]
"""Accuracy and NLL (configs,) of some configurations on val."""


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


def searches(
    target: Target, name: str, edit: Configuration, cells: Sequence[Configuration], *, seed: int
) -> Iterator[Search]:
    """The searches of all controls of one edit but the temperature.

    Args:
        target: the layer; its params say how many draws.
        name: see accompanied.
        edit: the edit that is judged.
        cells: what it was chosen from.
        seed: of the benchmark; a draw's permutation depends on it, the kind and the draw alone.
    """
    for number, kind in enumerate(RANDOM_KINDS):
        groups = norm_deciles(target.weight) if kind == "decile" else np.zeros(len(target.weight), int)
        for draw in range(target.edit.controls.draws):
            order = shuffled(groups, np.random.default_rng((seed, number, draw)))
            changed = [_changed(target, cell, cell.scale[order]) for cell in cells]
            yield Search(blank(target.layer, name, edit, kind, draw), changed)
    own = [] if edit.arm.startswith(SEARCH) else [cell.factor for cell in cells if cell.factor]
    factors = own or target.edit.factors
    ones = torch.ones(len(target.weight))
    uniform = [
        _changed(target, replace(cells[0], factor=factor, operation=operation, tau=None), factor * ones)
        for operation in dict.fromkeys("rows" if cell.operation == "rows" else "rows_bias" for cell in cells)
        for factor in dict.fromkeys(value for factor in factors if factor > 0 for value in (factor, 1 / factor))
    ]
    yield Search(blank(target.layer, name, edit, "uniform"), uniform)
    inverse = [_changed(target, cell, torch.where(cell.scale == 0, 1.0, 1 / cell.scale)) for cell in cells]
    yield Search(blank(target.layer, name, edit, "inverse"), inverse)


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


def chosen_controls(
    target: Target, members: dict[str, list[Configuration]], evaluate: Evaluate, *, seed: int, at_once: int
) -> tuple[list[Configuration], int]:
    """Every control with the cell that is best on val, and how many configurations were evaluated for that.

    What several searches have in common is evaluated once.

    Args:
        target: the layer.
        members: see accompanied.
        evaluate: measures configurations on val.
        seed: of the benchmark.
        at_once: about how many configurations are handed to ``evaluate``.
    """
    found: list[Configuration] = []
    known: dict[bytes, tuple[float, float]] = {}
    waiting: list[tuple[Search, Configuration]] = []
    new: dict[bytes, Configuration] = {}

    def settle() -> None:
        # Like edits together: the sweep is quick where neighbours share their values.
        keys = sorted(new, key=lambda key: (new[key].operation, new[key].factor or 0.0))
        if keys:
            known.update(zip(keys, zip(*evaluate([new[key] for key in keys]), strict=True), strict=True))
        for search, edit in waiting:
            accuracy, nll = np.array([known[_key(cell)] for cell in search.cells]).T
            found.append(search.choice(search.cells[best_index(accuracy, nll)], edit, target.bias))
        waiting.clear()
        new.clear()

    for name, (edit, *cells) in members.items():
        for search in searches(target, name, edit, cells, seed=seed):
            waiting.append((search, edit))
            new.update((key, cell) for cell in search.cells if (key := _key(cell)) not in known)
            if len(new) >= at_once:
                settle()
    settle()
    return found, len(known)


def run_controls(
    bench: Bench, members: dict[str, list[Configuration]], baseline: Tensor, *, seed: int
) -> tuple[list[Measured], int]:
    """The controls of the judged edits, measured on all images.

    Args:
        bench: the layer and the images.
        members: see accompanied.
        baseline: logits (images, classes) of the network as it is.
        seed: of the benchmark.

    Returns:
        The controls in parts, and how many configurations were tried on val for them.
    """
    target, memory = bench.target, bench.held_bytes
    if not target.edit.controls.draws or not members:
        return [], 0
    at_once = int(memory / (2 * target.weight.shape[0] * 4)) + 1
    chosen, tried = chosen_controls(target, members, bench.on_val, seed=seed, at_once=at_once)
    print(f"edit: {tried} configurations on val for {len(chosen)} controls", file=sys.stderr)
    val = torch.from_numpy(bench.positions["val"])
    cooled = baseline / fit_temperature(baseline[val], bench.labels[val])
    softer = [blank(target.layer, name, edit, "temperature") for name, (edit, *_) in members.items()]
    parts = [bench.measured(softer, cooled.expand(len(softer), *cooled.shape))]
    at_once = int(memory / (baseline.numel() * 4)) + 1
    for first in range(0, len(chosen), at_once):
        some = chosen[first : first + at_once]
        parts.append(bench.measured(some, bench.logits(some)))
    return parts, tried


def _changed(target: Target, cell: Configuration, scale: Tensor) -> Configuration:
    """A cell with another scale and the shift that its operation gives it."""
    return replace(cell, scale=scale, shift=target.shift(cell.operation, scale))


def _key(configuration: Configuration) -> bytes:
    """Tells apart what is computed: equal for configurations with the same scale and shift."""
    shift = b"" if configuration.shift is None else configuration.shift.numpy().tobytes()
    return hashlib.sha256(configuration.scale.numpy().tobytes() + b"|" + shift).digest()
