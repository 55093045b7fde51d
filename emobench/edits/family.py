"""Which edits get a verdict: the best on val of each arm and the published cell. Choosing looks at val alone."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from torch import Tensor

from emobench.errors import UserError
from emobench.functional.paired import holm, mcnemar
from emobench.settings.edit import PaperCell

PAPER_ARM = "similarity"
PAPER_ARMS = {PAPER_ARM, "weight_norm", "proportional"}
"""The arms of the paper and its code: they scale rows and nothing else."""
PAPER_NAME = "paper"
"""What the published cell is called where an arm's name stands otherwise."""
SEARCH = "search_"
"""What the names of arms begin with whose scales were found by an optimiser (see emobench.edits.search)."""
RANDOM_KINDS = ("random", "decile")
"""Arms of the random controls (see emobench.edits.controls)."""
PROTOCOLS = ("test", "test_noleaks", "val_test")
"""The image sets on which an edit is judged."""
LEVEL = 0.05
"""Of significance: of Holm's p, and of the rank p among the random controls."""
NLL_MARGIN = 0.002
"""By how much the NLL after temperature may rise, at the upper end of its interval, for an edit to count as better."""


def best_index(accuracy: np.ndarray, nll: np.ndarray) -> int:
    """The rule of every choice on val: the best accuracy, among these the lower NLL, among these the first.

    >>> best_index(np.array([0.5, 0.6, 0.6, 0.6]), np.array([1.0, 1.2, 1.1, 1.1]))
    2
    """
    return int(np.lexsort((nll, -np.asarray(accuracy)))[0])


def may_improve(gains: float, losses: float, p_value: float) -> bool:
    """Whether an edit can still be told to improve, whatever its controls do: ``p_value`` is Holm's.

    That over a part of the family does as well: no p gets smaller where more edits join.

    >>> may_improve(20, 5, 0.004), may_improve(5, 20, 0.004), may_improve(20, 12, 0.21)
    (True, False, False)
    """
    return p_value < LEVEL and gains > losses


def corrected_tests(before: Tensor, after: Mapping[str, Tensor]) -> dict[str, tuple[int, int, float]]:
    """McNemar's test of each edit against the baseline, with Holm's p over all of them: gains, losses, p.

    Args:
        before: which answers of the baseline are right, (images,) bool.
        after: config_id -> which of the edit's are.
    """
    tests = {name: mcnemar(before, right) for name, right in after.items()}
    p_values = holm([test.p_value for test in tests.values()])
    return {name: (test.gains, test.losses, p) for (name, test), p in zip(tests.items(), p_values, strict=True)}


def candidates(table: pd.DataFrame) -> pd.DataFrame:
    """The val rows of configs.parquet that a choice is made from: neither baseline nor control nor degenerate."""
    rows = table[(table["images"] == "val") & (table["arm"] != "baseline") & table["control_of"].isna()]
    return rows[rows["status"] == "ok"]


def best_on_val(table: pd.DataFrame) -> str | None:
    """The config_id that is best on val (see best_index) among the candidates of a table; None if there are none."""
    rows = candidates(table)
    if rows.empty:
        return None
    return str(rows["config_id"].iloc[best_index(rows["accuracy"].to_numpy(), rows["nll"].to_numpy())])


def best_of_all(table: pd.DataFrame) -> str | None:
    """The config_id that is best on val over all arms; searches count only where there is nothing else.

    A search has fitted its scales to the val images: what val says of it is too good to be compared.
    """
    fitted = table["arm"].str.startswith(SEARCH)
    return best_on_val(table[~fitted]) or best_on_val(table)


def family(configs: pd.DataFrame, paper: PaperCell) -> pd.DataFrame:
    """The configurations that get a verdict: columns config_id, arm and selected_on, the best on val first.

    ``selected_on`` is ``val``, or ``paper`` for the published cell, which was chosen before anything was measured here.
    An arm whose cells are all degenerate has none. Controls are never members.

    Raises:
        UserError: the published cell is asked for but was not evaluated.
    """
    edits = configs[(configs["arm"] != "baseline") & (configs["images"] == "val") & configs["control_of"].isna()]
    chosen = [best_on_val(rows) for _, rows in edits.groupby("arm", sort=False)]
    best = best_of_all(edits)
    # Stable: the best of all comes first, the others keep the order of the arms.
    named = sorted((one for one in chosen if one is not None), key=lambda one: one != best)
    rows = [{"config_id": one, "selected_on": "val"} for one in named]
    grid = edits[edits["arm"] == PAPER_ARM]
    if len(grid):
        cell = grid[np.isclose(grid["tau"], paper.tau) & np.isclose(grid["factor"], paper.factor)]
        if cell.empty:
            raise UserError(f"configs.parquet has no cell tau {paper.tau}, factor {paper.factor}; run dvc repro edit")
        rows.append({"config_id": cell["config_id"].iloc[0], "selected_on": "paper"})
    return pd.DataFrame(rows, columns=["config_id", "selected_on"]).merge(edits[["config_id", "arm"]], on="config_id")
