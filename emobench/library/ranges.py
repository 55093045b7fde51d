"""Selected units scaled only above, or only below, a threshold of their own activation: measured, with a verdict."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.edits.joint import measure_joint
from emobench.edits.measuring import bench_of, joined
from emobench.edits.ranges import RangeEdit, Where, range_of, train_values
from emobench.edits.target import Configuration
from emobench.edits.verdicts import Predictions, verdicts
from emobench.errors import UserError, unknown_name
from emobench.faces.imageset import ImageSet
from emobench.functional.edits import lone_scale, selection_scale
from emobench.library.defaults import demo
from emobench.library.edits import EditResult, asked_edit, bare_target, checked_mask
from emobench.networks.network import Network
from emobench.networks.ranges import with_ranges

SIDES = ("above", "below")
KIND = "selected"


def evaluate_range(
    network: Network, faces: ImageSet, layer: str, selected: Tensor | np.ndarray | pd.Series, *,
    factors: float | Sequence[float] = 1.5, quantiles: float | Sequence[float] = 0.5, side: str = "above",
    others: str = "alone", controls: int = 200, bootstrap_draws: int = 2000, seed: int = 0,
) -> EditResult:  # fmt: skip
    """Scales the selected units only beyond a threshold, and tells whether that is better than before and than luck.

    A unit's output z becomes t + factor * (z - t) where it is above its threshold t, or below it; the rest stays. t is
    a quantile of what the unit puts out on train images, before BatchNorm and ReLU; of a convolution at any place. The
    validation images choose one of the factors for each quantile, and the test images judge it, as in
    :func:`emobench.evaluate_edit`, with the same controls. There is no quick way: all that follows the layer runs for
    each control. The network in the result answers like any other but is no set of weights: it can't be saved.

    Args:
        network: as it is.
        faces: the pictures; see :func:`emobench.image_set`.
        layer: whose outputs are changed.
        selected: mask of its units, bool (units,).
        factors: what lies beyond the threshold is multiplied by; 0 cuts it off.
        quantiles: between 0 and 1: that share of the unit's outputs lies below its threshold.
        side: ``above`` or ``below`` it is scaled.
        others: the other units are left ``alone``, or ``divided`` by the factor beyond their thresholds.
        controls: random controls of each of two kinds, 0 for none: then nothing can be told to improve.
        bootstrap_draws: of the intervals.
        seed: of controls, intervals and places.

    Raises:
        UserError: no such layer or side, a mask of another length, one that selects no unit or all, or a quantile that
            is not between 0 and 1.
    """
    edit = asked_edit(network, layer, factors, ["rows"], others, controls)
    mask, shares = checked_mask(network, layer, selected), quantiles if isinstance(quantiles, Sequence) else [quantiles]
    if side not in SIDES:
        raise unknown_name("side", side, SIDES)
    if not shares or not all(0 < share < 1 for share in shares):
        raise UserError(f"quantiles are {list(shares)}; expected numbers between 0 and 1")
    values, scaled = train_values(network, [layer], faces, seed=seed), others == "divided"
    edits = [
        RangeEdit(KIND, 0.0, factor, {layer: (selection_scale if scaled else lone_scale)(mask, factor)},
                  range_of([layer], values, where), where)
        for where in (Where(share, side == "above") for share in shares) for factor in dict.fromkeys(edit.lone_factors)
    ]  # fmt: skip
    bench = bench_of(network, faces, bare_target(edit, network, layer))
    found = measure_joint(bench, edits, seed=seed)
    assert found is not None
    baseline = Configuration("baseline", "baseline", torch.ones(len(mask)))
    before = bench.logits([baseline])
    measured = joined([bench.measured([baseline], before), found.measured])
    judged, logits = ["baseline", *found.judged], torch.cat([before, found.logits]).numpy()
    answers = Predictions(measured.config_ids, measured.predictions, judged, logits, bench.labels.numpy(),
                          bench.positions, network.classes)  # fmt: skip
    table = verdicts(measured.table, answers, replace(demo().compare, bootstrap_draws=bootstrap_draws), edit, seed)
    best = next(one for one in edits if one.config_id == table["config_id"].iloc[0])
    return EditResult(with_ranges(network, best.scales, best.ranges or {}), table, measured.table, best.configuration())
