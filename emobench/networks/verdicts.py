"""Is an edit better than the baseline? The family of configurations that get a verdict, and what the tests say.

A verdict is given to the configuration that is best on val in each arm, and to the published cell: these are the
family that Holm corrects, on each image set for itself. All others show uncorrected numbers.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from emobench.errors import UserError
from emobench.functional.paired import holm, mcnemar, paired_bootstrap
from emobench.networks.family import family
from emobench.params import Compare, PaperCell
from emobench.vocabulary import CLASSES

PROTOCOLS = ("test", "test_noleaks", "val_test")
LEVEL = 0.05


@dataclass(frozen=True)
class Predictions:
    """Predictions uint8 (configs, images) of the named configurations, and the labels (images,) they are held against.

    ``positions``: image set -> positions among these images.
    """

    config_ids: list[str]
    preds: np.ndarray
    labels: np.ndarray
    positions: dict[str, np.ndarray]

    def of(self, config_id: str, images: str) -> torch.Tensor:
        """Predictions of one configuration on one image set: (images,) int64."""
        at = self.positions[images]
        return torch.from_numpy(self.preds[self.config_ids.index(config_id)][at].astype(np.int64))

    def target(self, images: str) -> torch.Tensor:
        """Labels of one image set: (images,) int64."""
        return torch.from_numpy(self.labels[self.positions[images]].astype(np.int64))


def verdicts(
    configs: pd.DataFrame, predictions: Predictions, compare: Compare, paper: PaperCell, seed: int
) -> pd.DataFrame:
    """Tests every configuration of the family against the baseline, on every image set of PROTOCOLS that has images.

    Args:
        configs: configs.parquet.
        predictions: of all of them.
        compare: draws and confidence of the bootstrap.
        paper: the published cell.
        seed: of the bootstrap.

    Returns:
        A row for each member of the family and image set: config_id, arm, selected_on, images, gains, losses,
        mcnemar_p, holm_p, delta_*, ci_low_*, ci_high_*, control_percentile (NaN: there are no controls), verdict.
    """
    members = family(configs, paper)
    tables = []
    for images in PROTOCOLS:
        if len(members) and len(predictions.positions[images]):
            compared = [_compared(predictions, name, images, compare, seed) for name in members["config_id"]]
            table = pd.concat([members, pd.DataFrame(compared)], axis=1)
            tables.append(table.assign(images=images, holm_p=_corrected(table), control_percentile=np.nan))
    if not tables:
        raise UserError("no edit can be judged: every configuration is degenerate; expected other edit.taus")
    result = pd.concat(tables, ignore_index=True)
    result["verdict"] = [verdict(*row) for row in zip(result["gains"], result["losses"], result["holm_p"], strict=True)]
    key = ["config_id", "arm", "selected_on", "images"]
    tested = ["gains", "losses", "mcnemar_p", "holm_p", "verdict", "control_percentile"]
    return result[[*key, *tested, *result.columns.drop([*key, *tested])]]


def verdict(gains: int, losses: int, p_value: float) -> str:
    """What the corrected test allows to say without random controls, which an improvement has to beat as well.

    >>> verdict(1, 30, 0.001), verdict(30, 1, 0.001), verdict(30, 25, 0.6)
    ('harms', 'not judged (no controls)', 'no evidence')
    """
    if p_value >= LEVEL or gains == losses:
        return "no evidence"
    return "harms" if losses > gains else "not judged (no controls)"


def _compared(predictions: Predictions, config_id: str, images: str, compare: Compare, seed: int) -> dict[str, float]:
    """Counts, p-value, differences and intervals of one configuration on one image set."""
    target = predictions.target(images)
    before, after = (predictions.of(name, images) for name in ("baseline", config_id))
    gains, losses, p_value = mcnemar(before == target, after == target)
    intervals = paired_bootstrap(
        target,
        before,
        after,
        draws=compare.bootstrap_draws,
        confidence=compare.confidence,
        seed=seed,
        class_names=CLASSES,
    )
    columns: dict[str, float] = {"gains": gains, "losses": losses, "mcnemar_p": p_value}
    for name, interval in intervals.items():
        columns |= {f"delta_{name}": interval.delta, f"ci_low_{name}": interval.low, f"ci_high_{name}": interval.high}
    return columns


def _corrected(table: pd.DataFrame) -> pd.Series:
    """Holm over the configurations of one image set; one that stands there twice is one hypothesis."""
    once = table.drop_duplicates("config_id")
    corrected = dict(zip(once["config_id"], holm(once["mcnemar_p"].tolist()), strict=True))
    return table["config_id"].map(corrected)


def summary(configs: pd.DataFrame, table: pd.DataFrame) -> dict[str, dict]:
    """Accuracies of the baseline, the best edit on val and the published cell, for the metrics file.

    Args:
        configs: configs.parquet.
        table: the verdicts.

    Returns:
        baseline, chosen_edit and paper_edit (the latter two where there are such): images -> accuracy, and for the
        edits ``delta`` with the differences.
    """
    accuracy = configs.pivot(index="config_id", columns="images", values="accuracy")
    baseline = accuracy.loc["baseline"]
    result: dict[str, dict] = {"baseline": baseline.to_dict()}
    for name, selected_on in (("chosen_edit", "val"), ("paper_edit", "paper")):
        ids = table.loc[table["selected_on"] == selected_on, "config_id"]
        if len(ids):
            edited = accuracy.loc[ids.iloc[0]]
            result[name] = {"config_id": ids.iloc[0], **edited.to_dict(), "delta": (edited - baseline).to_dict()}
    return result
