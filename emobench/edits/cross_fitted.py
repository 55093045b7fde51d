"""Protocol ``cross_fitted``: choosing and judging on val and test together, each image judged once, in one test.

Of the images, copies and one subject's pictures together, the choice of each fold is made on the others (see
emobench.functional.cross_fitting). More images than test alone, and one test instead of a family: it sees smaller
gains, but judges a way of choosing, not one edit. Nothing may be chosen that was made with val's labels: neither a
search on val nor the arm ``effect``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from emobench.edits.family import LEVEL, RANDOM_KINDS, SEARCH, candidates
from emobench.edits.power import POWER
from emobench.edits.verdicts import Predictions, interval_columns, verdict
from emobench.errors import UserError
from emobench.functional.cross_fitting import chosen_elsewhere, cross_fitted, dealt_folds
from emobench.functional.paired import paired_bootstrap
from emobench.functional.power import smallest_gain
from emobench.settings.edit import Edit
from emobench.settings.results import CROSS_FITTED, Compare

IMAGES = "val_test_kept"
"""The kept images of val and test; val_test has those too that the audit removed."""
SEES_LABELS = "effect"
"""The arm that selects units by what they do to the right answers on val."""


def open_to_choice(configs: pd.DataFrame, edit: Edit) -> list[str]:
    """The configurations that may be chosen by folds of val and test: none that val's labels had a say in.

    Args:
        configs: configs.parquet.
        edit: on which split was searched.
    """
    rows = candidates(configs)
    rows = rows[rows["arm"] != SEES_LABELS]
    if edit.search.split == "val":
        rows = rows[~rows["arm"].str.startswith(SEARCH)]
    return rows["config_id"].tolist()


def cross_fitted_verdict(
    configs: pd.DataFrame, predictions: Predictions, together: np.ndarray, compare: Compare, edit: Edit, seed: int
) -> pd.DataFrame:
    """The verdict on choosing by folds, as a row like those of the other verdicts; no row where it isn't asked for.

    Random controls and the uniform factor are those of the arms that the folds chose. They were chosen on all of val,
    so that they are harder to beat here than they should be. The calibrated NLL counts without an interval.

    Args:
        configs: configs.parquet.
        predictions: of all configurations.
        together: (images,) of the predictions' columns: see ImageSet.together.
        compare: folds, draws, and the bootstrap's.
        edit: see open_to_choice.
        seed: of folds, draws and bootstrap.

    Raises:
        UserError: fewer groups of images than folds.
    """
    names = open_to_choice(configs, edit)
    if compare.cross_fitting.folds < 2 or not names:
        return pd.DataFrame()
    at = np.sort(np.concatenate([predictions.positions[split] for split in ("val", "test")]))
    order = [predictions.config_ids.index(name) for name in ("baseline", *names)]
    answers, labels = predictions.preds[order][:, at], predictions.labels[at]
    right = answers == labels
    changes = right[1:].astype(np.int8) - right[:1].astype(np.int8)
    folds = _folds(together[at], compare, seed)
    found = cross_fitted(changes, folds, draws=compare.cross_fitting.draws, seed=seed)
    chosen = chosen_elsewhere(changes, folds)
    taken = answers[1 + chosen[folds], np.arange(len(at))]
    by_fold = [names[one] for one in chosen]
    row: dict[str, Any] = dict.fromkeys(("config_id", "arm", "selected_on"), CROSS_FITTED)
    row |= {"images": IMAGES, **found._asdict()}
    row["mcnemar_p"] = row["holm_p"] = row.pop("p_value")
    needed = smallest_gain(found.gains + found.losses, alpha=LEVEL, power=POWER)
    row |= {"detectable": needed, "detectable_points": None if needed is None else 100 * needed / len(at)}
    row |= {"accuracy": float((taken == labels).mean()), "chosen": _in_words(by_fold)}
    row |= _intervals(predictions, labels, answers[0], taken, compare, seed)
    row |= _beside_controls(configs, predictions, by_fold, int((taken == labels).sum()), at)
    row["delta_nll_t"] = _nll_change(configs, predictions.positions, by_fold, folds)
    row["verdict"], row["why"] = verdict(row | {"ci_high_nll_t": row["delta_nll_t"]})
    return pd.DataFrame([row]).astype({"detectable": float, "detectable_points": float})


def _folds(together: np.ndarray, compare: Compare, seed: int) -> np.ndarray:
    folds, parts = compare.cross_fitting.folds, len(np.unique(together))
    if folds > parts:
        raise UserError(f"params: compare.cross_fitting.folds is {folds}, but there are only {parts} separate pictures")
    return dealt_folds(together, folds, seed=seed)


def _in_words(chosen: list[str]) -> str:
    """How many folds chose what, the most frequent first."""
    return ", ".join(f"{name} ({count} of {len(chosen)})" for name, count in pd.Series(chosen).value_counts().items())


def _intervals(
    predictions: Predictions, labels: np.ndarray, before: np.ndarray, after: np.ndarray, compare: Compare, seed: int
) -> dict[str, float]:
    """delta_*, ci_low_* and ci_high_* of what the choices answer; the interval takes the choices as given."""
    target, first, second = (torch.from_numpy(one.astype(np.int64)) for one in (labels, before, after))
    intervals = paired_bootstrap(
        target, first, second, draws=compare.bootstrap_draws, confidence=compare.confidence, seed=seed,
        class_names=predictions.classes,
    )  # fmt: skip
    return interval_columns(intervals)


def _beside_controls(
    configs: pd.DataFrame, predictions: Predictions, chosen: list[str], right: int, at: np.ndarray
) -> Mapping[str, float]:
    """control_p, control_draws, control_percentile, random_p95 and uniform_accuracy; NaN without controls."""
    own = configs[configs["images"] == "val"].drop_duplicates("config_id").set_index("config_id")
    arms = set(own.loc[chosen, "arm"])
    controls = own[own["control_of"].notna() & own["criterion"].isin(arms)]
    place = {name: index for index, name in enumerate(predictions.config_ids)}
    rows = [place[name] for name in controls.index]
    counts = pd.Series((predictions.preds[rows][:, at] == predictions.labels[at]).sum(1), controls.index)
    random = [
        counts[(controls["criterion"] == arm) & (controls["arm"] == kind)]
        for arm in sorted(arms)
        for kind in RANDOM_KINDS
    ]
    random = [some for some in random if len(some)]
    luck = [((1 + int((some >= right).sum())) / (1 + len(some)), len(some)) for some in random]
    p_value, made = max(luck, default=(np.nan, 0))
    uniform = counts[controls["arm"] == "uniform"]
    return {
        "control_p": p_value,
        "control_draws": made,
        "control_percentile": min((100 * float((some < right).mean()) for some in random), default=np.nan),
        "random_p95": max((float(some.quantile(0.95)) / len(at) for some in random), default=np.nan),
        "uniform_accuracy": uniform.max() / len(at) if len(uniform) else np.nan,
    }


def _nll_change(
    configs: pd.DataFrame, positions: Mapping[str, np.ndarray], chosen: list[str], folds: np.ndarray
) -> float:
    """The change of NLL after temperature by what each fold chose, weighted by the folds, on all of val and test."""
    splits, sizes = ("val", "test"), np.bincount(folds)
    table = configs.pivot_table(index="config_id", columns="images", values="nll_t")[list(splits)]
    changes = table.loc[chosen].to_numpy() - table.loc["baseline"].to_numpy()
    return float(np.average(np.average(changes, 0, sizes), weights=[len(positions[split]) for split in splits]))
