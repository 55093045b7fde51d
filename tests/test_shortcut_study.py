"""The study's own small functions: AUROC against its definition, and which units each group holds."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))
from shortcut import auroc, groups


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    values, flags = rng.integers(5, size=(30, 4)).astype(float), rng.random(30) < 0.4
    pairs = values[flags][:, None] - values[~flags][None]
    expected = (pairs > 0).mean((0, 1)) + 0.5 * (pairs == 0).mean((0, 1))
    assert np.allclose(auroc(values, flags), expected)


def test_groups_by_truth_description_and_effect() -> None:
    marks = ["corner mark", "corner mark", "smile", *["frown"] * 37]
    table = pd.DataFrame({"description": marks, "significant": [True, False, *[True] * 38]})
    effects = pd.DataFrame({"delta_accuracy": np.zeros(40), "delta_nll": np.zeros(40)})
    effects.loc[7, "delta_accuracy"], effects.loc[9, "delta_nll"] = 0.1, -0.1
    sees = np.full(40, 0.5)
    sees[[0, 3]] = 0.9, 0.1
    found = {name: np.flatnonzero(mask).tolist() for name, mask in groups(table, effects, sees).items()}
    assert found == {"truth": [0, 3], "described": [0, 1], "described, significant": [0], "effect on val": [7, 9]}
