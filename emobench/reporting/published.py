"""The published grid of edits, and what its confusion matrices alone can say: no weights and no images are needed.

``published/edit_grid.csv`` has a row a cell (threshold tau, factor) and the baseline's: counts and averages on the
7,178 images of FER2013's val and test split together, as the paper's code printed them.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emobench.functional.pairings import smallest_mcnemar

GRID = Path(__file__).parent / "published" / "edit_grid.csv"
PUBLISHED_ACCURACY = 0.69420451
"""The seed paper's baseline on PublicTest and PrivateTest of FER2013 together: 4,983 of 7,178 images."""
PUBLISHED_EDIT_ACCURACY = 0.69629423
"""The same with the paper's edit: 4,998 images."""
PUBLISHED_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The classes of the published matrices, in their order."""


def published_replay(path: Path = GRID) -> pd.DataFrame:
    """What the published matrices allow to say about each edit of the grid against the grid's own baseline.

    Args:
        path: a table with tau (``baseline`` in one row), factor, n_correct, approx_nll and cm_<True>_<Predicted>.

    Returns:
        A row a cell with a factor other than 1, by tau and factor: tau, factor, right (images), delta_points (accuracy,
        edited minus baseline, in hundredths), delta_nll, fewest_gains and fewest_losses (images), min_mcnemar_p: no
        pairing of the two networks' answers that fits the matrices has a smaller exact two-sided p-value, uncorrected.

    Raises:
        ValueError: a matrix whose diagonal is not n_correct, or of other images than the baseline's.
    """
    grid, matrices = _read(path)
    is_baseline = (grid["tau"] == "baseline").to_numpy()
    baseline, before = grid[is_baseline].iloc[0], matrices[int(is_baseline.argmax())]
    edits = (~is_baseline & (grid["factor"] != 1).to_numpy()).nonzero()[0]
    found = [smallest_mcnemar(before, matrices[row]) for row in edits]
    cells = grid.iloc[edits].reset_index(drop=True)
    table = pd.DataFrame(
        {
            "tau": cells["tau"].astype(float),
            "factor": cells["factor"],
            "right": cells["n_correct"],
            "delta_points": 100 * (cells["n_correct"] - baseline["n_correct"]) / int(before.sum()),
            "delta_nll": cells["approx_nll"] - baseline["approx_nll"],
            "fewest_gains": [cell.gains for cell in found],
            "fewest_losses": [cell.losses for cell in found],
            "min_mcnemar_p": [cell.p_value for cell in found],
        }
    )
    return table.sort_values(["tau", "factor"], ignore_index=True)


def published_matrices(path: Path = GRID) -> tuple[np.ndarray, np.ndarray]:
    """The published confusion matrices (classes, classes) of the baseline and of the paper's edit, val and test."""
    grid, matrices = _read(path)
    cell = (grid["tau"] == "0.0") & (grid["factor"] == 1.5)
    before, after = (matrices[int(rows.to_numpy().argmax())].numpy() for rows in (grid["tau"] == "baseline", cell))
    return before, after


def _read(path: Path) -> tuple[pd.DataFrame, torch.Tensor]:
    """The published table, and its confusion matrices (rows, classes, classes)."""
    grid = pd.read_csv(path)
    names = [name.capitalize() for name in PUBLISHED_CLASSES]
    columns = [f"cm_{true}_{predicted}" for true in names for predicted in names]
    matrices = torch.tensor(grid[columns].to_numpy()).reshape(-1, len(names), len(names))
    if (matrices.diagonal(dim1=1, dim2=2).sum(1) != torch.tensor(grid["n_correct"].to_numpy())).any():
        raise ValueError(f"{path}: n_correct is not the diagonal of the confusion matrix in every row")
    return grid, matrices


def improving(replay: pd.DataFrame) -> pd.DataFrame:
    """The cells of ``published_replay`` with more right answers than the baseline, smallest possible p-value first."""
    rows = replay[replay["delta_points"] > 0]
    return rows.sort_values(["min_mcnemar_p", "tau", "factor"], ignore_index=True)
