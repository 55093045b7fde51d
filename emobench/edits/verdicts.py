"""Is an edit better than the baseline, and better than luck? What the tests and the controls say of the family.

Holm corrects over the family (see emobench.edits.family), on each image set for itself. All other configurations
show uncorrected numbers. An improvement also has to beat the controls that accompany the edit, and must not cost
calibrated likelihood.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.cores import one_a_core
from emobench.edits.family import LEVEL, NLL_MARGIN, PAPER_NAME, PROTOCOLS, RANDOM_KINDS, family, may_improve
from emobench.edits.power import detectable
from emobench.errors import UserError
from emobench.functional.classification import probability_metrics
from emobench.functional.paired import holm, mcnemar, paired_bootstrap, paired_probabilities
from emobench.functional.stopping import sequential_p, settling_hits
from emobench.progress import progress
from emobench.settings.edit import Edit
from emobench.settings.results import Compare

KEY = ["config_id", "arm", "selected_on", "images"]
JUDGED = ["gains", "losses", "mcnemar_p", "holm_p", "verdict", "why", "accuracy"]
JUDGED += ["control_p", "control_draws", "control_percentile", "detectable", "detectable_points"]


@dataclass(frozen=True)
class Predictions:
    """What configurations answer, and the labels (images,) that it is held against.

    ``preds`` are uint8 (configs, images), in the order of ``config_ids``. ``logits`` (members, images, classes) are
    those of ``logit_ids``: the baseline and the family. ``positions``: image set -> positions among these images;
    ``classes``: their names.
    """

    config_ids: list[str]
    preds: np.ndarray
    logit_ids: list[str]
    logits: np.ndarray
    labels: np.ndarray
    positions: dict[str, np.ndarray]
    classes: tuple[str, ...]

    def of(self, config_id: str, images: str) -> Tensor:
        """Predictions of one configuration on one image set: (images,) int64."""
        at = self.positions[images]
        return torch.from_numpy(self.preds[self.config_ids.index(config_id)][at].astype(np.int64))

    def logits_of(self, config_ids: list[str], images: str) -> Tensor:
        """Logits of some members on one image set: (members, images, classes)."""
        at = [self.logit_ids.index(name) for name in config_ids]
        return torch.from_numpy(np.asarray(self.logits[at][:, self.positions[images]]))

    def target(self, images: str) -> Tensor:
        """Labels of one image set: (images,) int64."""
        return torch.from_numpy(self.labels[self.positions[images]].astype(np.int64))


def verdicts(configs: pd.DataFrame, predictions: Predictions, compare: Compare, edit: Edit, seed: int) -> pd.DataFrame:
    """Tests every configuration of the family against the baseline, on every image set of PROTOCOLS that has images.

    Args:
        configs: configs.parquet.
        predictions: of all of them.
        compare: draws and confidence of the bootstrap.
        edit: the published cell, and how many controls were planned.
        seed: of the bootstrap.

    Returns:
        A row for each member of the family and image set: KEY, JUDGED (see emobench.edits.power for the detectable
        gain), random_p95, uniform_accuracy, inverse_accuracy and rows_differing (see _beside_controls), nll, brier, ece
        and the same after temperature (``_t``), and delta_*, ci_low_*, ci_high_* of these, of accuracy,
        balanced_accuracy, macro_f1 and each class's recall.
    """
    members = family(configs, edit.paper)
    options = {"draws": compare.bootstrap_draws, "confidence": compare.confidence, "seed": seed}
    if not edit.asked:
        return no_verdicts()

    def judged(images: str) -> pd.DataFrame:
        measured = configs[configs["images"] == images].set_index("config_id")
        return _judged(measured, predictions, members, images, edit, options)

    present = [images for images in PROTOCOLS if len(members) and len(predictions.positions[images])]
    order = sorted(present, key=lambda images: -len(predictions.positions[images]))  # what is left at the end is short
    tables = dict(zip(order, one_a_core(judged, order, torch.device("cpu")), strict=True))
    if not present:
        raise UserError("no edit can be judged: every configuration is degenerate; expected other edit.taus")
    return pd.concat([tables[images] for images in present], ignore_index=True)


def no_verdicts() -> pd.DataFrame:
    """The table where no edit was asked for: no rows, and the columns that readers need."""
    types = {name: "str" if name in ("verdict", "why", *KEY) else float for name in (*KEY, *JUDGED)}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})


def _judged(
    chosen: pd.DataFrame, predictions: Predictions, members: pd.DataFrame, images: str, edit: Edit, options: dict
) -> pd.DataFrame:
    """The verdicts on one image set; ``chosen`` is configs.parquet on it, by config_id."""
    count, planned = len(predictions.positions[images]), edit.controls.draws
    named, rows = members["config_id"].tolist(), members.to_dict("records")
    shown = progress(named, desc=f"compare on {images}", unit="edit")
    tests = pd.DataFrame([_compared(predictions, name, images, options) for name in shown])
    tests["holm_p"] = _corrected(members["config_id"], tests["mcnemar_p"])
    ruled_out = [not may_improve(*test) for test in zip(tests["gains"], tests["losses"], tests["holm_p"], strict=True)]
    beside = [_beside_controls(chosen, *pair, count, planned) for pair in zip(rows, ruled_out, strict=True)]
    reliability = _reliability(predictions, named, chosen["temperature"], images, options)
    parts = (members.assign(images=images), tests, pd.DataFrame(beside), pd.DataFrame(reliability))
    table = pd.concat(parts, axis=1)
    table = table.join(detectable(table, count))
    table[["verdict", "why"]] = [verdict(row) for row in table.to_dict("records")]
    return table[[*KEY, *JUDGED, *table.columns.drop([*KEY, *JUDGED])]]


def verdict(row: Mapping[str, float]) -> tuple[str, str]:
    """The verdict on one edit on one image set, and in a few words what speaks against an improvement.

    ``improves``: Holm's p below LEVEL with more gains than losses; better than the 95th percentile of each kind of
    random control (also by rank p) and than the best uniform factor; and the upper bound of the change of NLL after
    temperature below NLL_MARGIN. ``harms``: Holm's p below LEVEL with more losses than gains. Else ``no evidence``;
    without controls an improvement is ``not judged (no controls)``.

    Args:
        row: gains, losses, holm_p, accuracy, control_p, random_p95, uniform_accuracy, ci_high_nll_t.
    """
    significant = row["holm_p"] < LEVEL and row["gains"] != row["losses"]
    if significant and row["losses"] > row["gains"]:
        return "harms", ""
    against = [] if significant else [f"Holm p = {row['holm_p']:.2g}"]
    if np.isnan(row["control_p"]):
        return ("no evidence", against[0]) if against else ("not judged (no controls)", "")
    if not (row["control_p"] < LEVEL and row["accuracy"] > row["random_p95"]):
        against.append(f"random controls do as well (p = {row['control_p']:.2g})")
    if not row["accuracy"] > row["uniform_accuracy"]:
        against.append("a uniform factor does as well")
    if not row["ci_high_nll_t"] < NLL_MARGIN:
        against.append(f"NLL after temperature may rise by {row['ci_high_nll_t']:.2g}")
    return ("no evidence", "; ".join(against)) if against else ("improves", "")


def _compared(predictions: Predictions, config_id: str, images: str, options: dict) -> dict[str, float]:
    """Counts, p-value, differences and intervals of one configuration on one image set."""
    target = predictions.target(images)
    before, after = (predictions.of(name, images) for name in ("baseline", config_id))
    gains, losses, p_value = mcnemar(before == target, after == target)
    intervals = paired_bootstrap(target, before, after, class_names=predictions.classes, **options)
    return {"gains": gains, "losses": losses, "mcnemar_p": p_value} | interval_columns(intervals)


def interval_columns(intervals: Mapping[str, tuple[float, float, float]], suffix: str = "") -> dict[str, float]:
    """Intervals as columns delta_*, ci_low_*, ci_high_*."""
    ends = ("delta", "ci_low", "ci_high")
    return {
        f"{end}_{name}{suffix}": value for name, one in intervals.items() for end, value in zip(ends, one, strict=True)
    }


def _reliability(
    predictions: Predictions, config_ids: list[str], temperature: pd.Series, images: str, options: dict
) -> list[dict[str, float]]:
    """NLL, Brier score and calibration error of each member, as it is and after its temperature (``_t``)."""
    target, names = predictions.target(images), ["baseline", *config_ids]
    logits = predictions.logits_of(names, images)
    degrees = torch.tensor(temperature[names].to_numpy())[:, None, None]
    rows: list[dict[str, float]] = [{} for _ in config_ids]
    for suffix, shown in (("", logits), ("_t", logits / degrees)):
        measured = probability_metrics(shown[1:], target)
        for index, intervals in enumerate(paired_probabilities(target, shown[0], shown[1:], **options)):
            rows[index] |= {name + suffix: float(values[index]) for name, values in measured.items()}
            rows[index] |= interval_columns(intervals, suffix)
    return rows


def _beside_controls(
    chosen: pd.DataFrame, member: Mapping[str, str], ruled_out: bool, count: int, planned: int
) -> dict[str, float]:
    """One member beside its controls on the same images; NaN where there are none.

    Args:
        chosen: configs.parquet on one image set, by config_id.
        member: config_id, arm, selected_on.
        ruled_out: whether the edit's own test rules an improvement out, so that its controls may have stopped anywhere.
        count: how many images there are: accuracies are compared as whole numbers of right answers.
        planned: how many draws of each kind of random control; fewer were made where nothing hung on more.

    Returns:
        accuracy; control_p and control_draws: rank p (see sequential_p), the larger one of the two kinds of random
        control, and how many draws of that kind were made; control_percentile and random_p95: percentage of controls
        below and 95th percentile, each of the kind that is harder to beat; uniform_accuracy and inverse_accuracy;
        rows_differing: how many rows differ between the edit and its random controls, on average.
    """
    name = PAPER_NAME if member["selected_on"] == "paper" else member["arm"]
    own = chosen[(chosen["control_of"] == member["config_id"]) & (chosen["criterion"] == name)]
    accuracy = chosen.loc[member["config_id"], "accuracy"]
    kinds = [own[own["arm"] == kind].sort_values("seed")["accuracy"] for kind in RANDOM_KINDS]
    kinds = [values for values in kinds if len(values)]
    hits = [right_answers(values, count) >= right_answers(accuracy, count) for values in kinds]
    settling = settling_hits(planned, LEVEL) if kinds else 0
    luck = [(sequential_p(torch.from_numpy(some), planned, settling, ruled_out=ruled_out), len(some)) for some in hits]
    p_value, made = max(luck, default=(np.nan, 0))
    single = {kind: own.loc[own["arm"] == kind, "accuracy"] for kind in ("uniform", "inverse")}
    return {
        "accuracy": accuracy,
        "control_p": p_value,
        "control_draws": made,
        "control_percentile": min((100 * (1 - some.mean()) for some in hits), default=np.nan),
        "random_p95": max((values.quantile(0.95) for values in kinds), default=np.nan),
        **{f"{kind}_accuracy": values.iloc[0] if len(values) else np.nan for kind, values in single.items()},
        "rows_differing": own.loc[own["arm"].isin(RANDOM_KINDS), "rows_differing"].mean(),
    }


def right_answers(accuracy: pd.Series | float, count: int) -> np.ndarray:
    """Accuracies on so many images as whole numbers of right answers."""
    return np.rint(np.asarray(accuracy) * count).astype(np.int64)


def _corrected(config_ids: pd.Series, p_values: pd.Series) -> pd.Series:
    """Holm over the configurations of one image set; one that stands there twice is one hypothesis."""
    once = dict(zip(config_ids, p_values, strict=True))
    return config_ids.map(dict(zip(once, holm(list(once.values())), strict=True)))


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
