"""One selection of units strengthened, silenced or replaced: measured, beside its controls, with a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.edits.experiment import mean_outputs
from emobench.edits.exporting import edited_weights
from emobench.edits.measuring import bench_of, joined
from emobench.edits.own_arm import mask_of
from emobench.edits.target import Configuration, Target, layer_bias, layer_weight
from emobench.edits.trial import try_edits
from emobench.edits.verdicts import Predictions, verdicts
from emobench.errors import UserError, unknown_name
from emobench.faces.imageset import ImageSet
from emobench.library.defaults import demo
from emobench.networks.network import Network
from emobench.networks.sources import with_weights
from emobench.settings.edit import Controls, Edit

ARM = "selected"
DRAWN_BEFORE_STOPPING = 50
"""Random controls that are drawn at least before they may stop (see emobench.edits.drawing)."""


@dataclass(frozen=True)
class EditResult:
    """What an edit does.

    Attributes:
        network: with the edit that is best on val; the network that was given is as it was.
        verdicts: that edit against the network as it was, a row for each image set it is judged on (see
            emobench.edits.verdicts): gains, losses, p, the interval of the difference, the controls beside it.
        configs: everything that was measured: the baseline, each factor and operation, and the controls.
        edit: which of the configurations is the edit.
    """

    network: Network
    verdicts: pd.DataFrame
    configs: pd.DataFrame
    edit: Configuration

    @property
    def verdict(self) -> str:
        """On the test images: improves, harms, no evidence, or not judged (no controls)."""
        return str(self._on_test("verdict"))

    @property
    def difference(self) -> float:
        """In accuracy on the test images, a share: edited minus before."""
        return float(self._on_test("delta_accuracy"))

    def _on_test(self, column: str) -> Any:
        """Of the edit, which stands first among those that are judged."""
        return self.verdicts.loc[self.verdicts["images"] == "test", column].iloc[0]


def evaluate_edit(
    network: Network, faces: ImageSet, layer: str, selected: Tensor | np.ndarray | pd.Series, *,
    factors: float | Sequence[float] = 1.5, operations: Sequence[str] = ("rows",), others: str = "divided",
    controls: int = 200, bootstrap_draws: int = 2000, seed: int = 0,
) -> EditResult:  # fmt: skip
    """Strengthens the selected units, and tells whether that is better than before and better than luck.

    Every factor and operation is tried; the validation images choose one, and the test images judge it: exact McNemar
    test, random selections and plain scalings searched in the same way as controls, and calibrated likelihood.

    Args:
        network: as it is.
        faces: the pictures; see :func:`emobench.image_set`.
        layer: whose rows are changed.
        selected: mask of its units, bool (units,).
        factors: the selected rows are multiplied by.
        operations: ``rows`` (weights), ``rows_bias`` (weights and bias), ``zero`` or ``mean`` (the unit's output is
            replaced).
        others: the other rows are ``divided`` by the factor, as the paper does, or left ``alone``.
        controls: random controls of each of two kinds, 0 for none: then nothing can be told to improve.
        bootstrap_draws: of the intervals.
        seed: of controls and intervals.

    Raises:
        UserError: no such layer, a mask of another length, or one that selects no unit or all.

    See :mod:`emobench` for an example.
    """
    edit = asked_edit(network, layer, factors, operations, others, controls)
    mask = checked_mask(network, layer, selected)
    mean = mean_outputs(network, layer, faces) if "mean" in operations else None
    target = bare_target(edit, network, layer, mean)
    bench = bench_of(network, faces, target)
    baseline = Configuration("baseline", "baseline", torch.ones(len(mask)))
    trial = try_edits(bench, [baseline, *target.operations(ARM, mask, divided=others == "divided")], seed=seed)
    measured, labels = joined(trial.parts), bench.labels.numpy()
    answers = Predictions(measured.config_ids, measured.predictions, trial.judged, trial.logits.numpy(), labels,
                          bench.positions, network.classes)  # fmt: skip
    table = verdicts(measured.table, answers, replace(demo().compare, bootstrap_draws=bootstrap_draws), edit, seed)
    state = edited_weights(network, {layer: (trial.chosen.scale, trial.chosen.shift)})
    return EditResult(with_weights(network, state), table, measured.table, trial.chosen)


def checked_mask(network: Network, layer: str, selected: Tensor | np.ndarray | pd.Series) -> Tensor:
    """The selected units of a layer, bool (units,): some, not all. Raises UserError."""
    mask = mask_of("selected is", selected, network.card.layer(layer).units)
    if mask.all() or not mask.any():
        raise UserError(f"selected holds {int(mask.sum())} of {len(mask)} units of {layer}; expected some, not all")
    return mask


def bare_target(edit: Edit, network: Network, layer: str, mean: Tensor | None = None) -> Target:
    """A layer of whose units nothing is known."""
    weight = layer_weight(network, layer)
    unknown = pd.DataFrame({"unit": range(len(weight))})
    return Target(edit, layer, weight, layer_bias(network, layer), mean, unknown, unknown, network.classes, {})


def asked_edit(
    network: Network,
    layer: str,
    factors: float | Sequence[float],
    operations: Sequence[str],
    others: str,
    controls: int,
) -> Edit:
    """Section edit of the demo with what was asked for. Raises UserError."""
    names = [card.name for card in network.card.editable]
    if layer not in names:
        raise unknown_name("layer to edit", layer, names)
    if others not in ("divided", "alone"):
        raise unknown_name("others", others, ("divided", "alone"))
    asked = [float(one) for one in (factors if isinstance(factors, Sequence) else [factors])]
    known = ("rows", "rows_bias", "zero", "mean")
    for operation in operations:
        if operation not in known:
            raise unknown_name("operation", operation, known)
    if not asked or min(asked) < 0 or (others == "divided" and min(asked) == 0):
        raise UserError(f"factors are {asked}; expected numbers of at least 0, above 0 where the others are divided")
    changes = {"layer": layer, "operations": list(operations), "divided_factors": asked, "lone_factors": asked}
    draws = Controls(draws=controls, least=DRAWN_BEFORE_STOPPING)
    return replace(demo().edit, **changes, controls=draws, jobs=1, scheduler="")  # type: ignore[arg-type]
