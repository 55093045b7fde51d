"""A selection strategy of the user's own: which units, or which configurations, as a function of the edited layer."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from emobench.edits.target import Configuration, Target
from emobench.errors import UserError
from emobench.own_code import own_function, short_name, telling


def own_arm(asked: str) -> Callable[[Target], Iterator[Configuration]]:
    """The arm that ``FILE.py:FUNCTION`` makes.

    The function takes a :class:`~emobench.edits.target.Target` and returns a mask of the units, bool (units,), which
    get every operation of params.edit.operations while the other rows are divided by the factor; or configurations of
    its own, made by ``target.selection`` and ``target.operations``.

    Raises:
        UserError: no such function. The arm: the function raises, or returns something else.
    """
    function, name = own_function(asked), short_name(asked)

    def arm(target: Target) -> Iterator[Configuration]:
        with telling(asked):
            found = function(target)
            if not isinstance(found, torch.Tensor | np.ndarray | pd.Series):
                # Within the block: a generator runs, and fails, when it is asked.
                found = list(found)
        if isinstance(found, list):
            yield from (_checked(asked, one, len(target.units)) for one in found)
        else:
            mask = mask_of(f"{asked} returns", found, len(target.units))
            yield from target.operations(name, mask, divided=True)

    return arm


def mask_of(what: str, values: torch.Tensor | np.ndarray | pd.Series, units: int) -> torch.Tensor:
    """A mask of a layer's units, bool (units,).

    Raises:
        UserError: it is of another type or shape; ``what`` begins the message.
    """
    mask = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values))
    if mask.dtype != torch.bool or mask.shape != (units,):
        raise UserError(f"{what} {mask.dtype} {tuple(mask.shape)}; expected a mask of units, bool ({units},)")
    return mask


def _checked(asked: str, one: object, units: int) -> Configuration:
    if not isinstance(one, Configuration):
        raise UserError(
            f"{asked} returns a {type(one).__name__}; expected a mask of units, or configurations of Target"
        )
    for what, values in {"scale": one.scale, "shift": one.shift}.items():
        if values is not None and (values.shape != (units,) or not values.isfinite().all()):
            raise UserError(f"{asked}: {one.config_id} has a {what} {tuple(values.shape)}; expected ({units},), finite")
    return replace(one, arm=short_name(asked))
