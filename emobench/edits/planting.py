"""What is planted in a trained network (see emobench.edits.planted): nulls, and which units are damaged.

Units are damaged ``random``ly; or among the ``important`` ones, those that move the logits most; or among those
``described`` by concepts of one class, so that an arm that goes by descriptions could find them.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emobench.edits.planted import Ground
from emobench.edits.target import unit_table
from emobench.errors import UserError
from emobench.settings.edit import Edit

POOL = 2
"""From how many times as many of the most important units the damaged ones are drawn."""


def damaged_units(ground: Ground, edit: Edit, among: str, count: int, rng: np.random.Generator) -> Tensor:
    """Which units are to be damaged: (count,) int64, ascending.

    Args:
        ground: the sound network.
        edit: which dissection describes the units.
        among: a key of AMONG.
        count: how many, from 1.
        rng: draws them.

    Raises:
        UserError: there are fewer of such units.
    """
    pool = AMONG[among](ground, edit, count, rng)
    if not 1 <= count <= len(pool):
        raise UserError(f"{count} units to damage among {len(pool)} {among} ones; expected at least 1 and no more")
    return torch.from_numpy(np.sort(rng.permutation(pool)[:count]))


def _random(ground: Ground, edit: Edit, count: int, rng: np.random.Generator) -> np.ndarray:
    return np.arange(len(ground.weight))


def _important(ground: Ground, edit: Edit, count: int, rng: np.random.Generator) -> np.ndarray:
    return by_importance(ground)[: POOL * count].numpy()


def _described(ground: Ground, edit: Edit, count: int, rng: np.random.Generator) -> np.ndarray:
    """The units whose descriptions speak for one class, drawn among those classes that have enough of them."""
    told = unit_table(edit, ground.layer, ground.units)["description"]
    speaks = ground.concepts
    pools = [
        np.flatnonzero(told.isin([concept for concept in speaks if name in speaks[concept]]).to_numpy())
        for name in ground.head.classes
    ]
    enough = [pool for pool in pools if len(pool) >= count]
    return enough[rng.integers(len(enough))] if enough else max(pools, key=len)


AMONG: dict[str, Callable[[Ground, Edit, int, np.random.Generator], np.ndarray]] = {
    "random": _random,
    "important": _important,
    "described": _described,
}
"""Name -> the units that the damaged ones are drawn from."""


@torch.no_grad()
def by_importance(ground: Ground) -> Tensor:
    """The layer's units (units,), first those whose activation on val moves the logits most.

    That is the standard deviation of the unit's output behind the ReLU, times the norm of its weights to the outputs.
    """
    first = ground.layers.get_submodule(ground.layers.names[0])
    spread = F.relu(first(ground.features[ground.positions["val"]])).std(0)
    return (spread * ground.layers.state_dict()[f"{ground.layers.names[1]}.weight"].norm(dim=0)).argsort(
        descending=True, stable=True
    )


def with_random_labels(ground: Ground, rng: np.random.Generator) -> Ground:
    """A null: every label drawn anew, any class as likely: whatever it answers, an edit is right as often as any."""
    drawn = rng.integers(len(ground.head.classes), size=len(ground.labels))
    return replace(ground, labels=torch.from_numpy(drawn))


def with_shuffled_units(ground: Ground, edit: Edit, rng: np.random.Generator) -> Ground:
    """A null: the layer's descriptions dealt out to its units at random, so that arms that go by them select at random.

    The images keep their labels. What such an edit truly changes is what it would change with any rows.
    """
    own = ground.units["layer"] == ground.layer
    rows = ground.units[own & (ground.units["concept_set"] == edit.concept_set)]
    rows = rows[rows["similarity_fn"] == edit.similarity_fn].sort_values("unit", ignore_index=True)
    dealt = rows.iloc[rng.permutation(len(rows))].assign(unit=rows["unit"].to_numpy())
    return replace(ground, units=dealt.reset_index(drop=True))
