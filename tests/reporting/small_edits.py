"""A small benchmark's edits, controls and verdicts, made up but for the accuracies, which are their predictions'."""

import json

import numpy as np
import pandas as pd
from kinds import Kind

from emobench.layout import Layout
from emobench.params import Params

METRICS = ("balanced_accuracy", "macro_f1", "top2", "nll", "ece", "brier", "temperature", "nll_t", "ece_t")


def write_edits(layout: Layout, params: Params, index: pd.DataFrame, generator, kind: Kind) -> None:
    count, layer = len(kind.classes), kind.edited
    labels, split, kept = index["label"].to_numpy(), index["split"].to_numpy(), (index["status"] == "kept").to_numpy()
    rows = np.flatnonzero(split != "train")
    sets = {
        "val": rows[(split[rows] == "val") & kept[rows]],
        "test": rows[(split[rows] == "test") & kept[rows]],
        "test_noleaks": rows[(split[rows] == "test") & kept[rows] & ~index["leaks"].to_numpy(bool)[rows]],
        "val_test": rows,
    }
    base = np.where(generator.random(len(rows)) < 0.7, labels[rows], generator.integers(0, count, len(rows)))
    settings = [("baseline", "baseline", np.nan, np.nan)]
    settings += [(f"similarity_{t}_{f}", "similarity", t, f) for t in params.edit.taus for f in params.edit.factors]
    for arm in ("weight_norm", "proportional"):
        settings += [(f"{arm}_{f}", arm, np.nan, f) for f in params.edit.factors]
    predictions, table = [], []
    for config_id, arm, tau, factor in settings:
        flips = generator.random(len(rows)) < (0 if arm == "baseline" or factor == 1.0 else 0.02 * factor)
        predictions.append(np.where(flips, generator.integers(0, count, len(rows)), base).astype(np.uint8))
        setting = {"config_id": config_id, "arm": arm, "layer": layer, "tau": tau, "factor": factor, "n_up": 9}
        status = "degenerate" if tau == params.edit.taus[-1] and arm == "similarity" else "ok"
        for name, chosen in sets.items():
            at = np.isin(rows, chosen)
            right = predictions[-1][at] == labels[rows][at]
            metrics = {f"recall_{c}": right[labels[rows][at] == k].mean() for k, c in enumerate(kind.classes)}
            metrics |= {"accuracy": right.mean(), **{metric: generator.random() for metric in METRICS}}
            table.append({**setting, "images": name, "n_down": 3, "status": status, **metrics})
    configs = pd.DataFrame(table).assign(criterion="similarity", operation="rows", control_of=None, seed=np.nan)
    drawn, answers, names = _controls(configs, predictions[0], labels[rows], generator, kind)
    predictions += answers
    configs = pd.concat([configs, drawn], ignore_index=True)
    configs.to_parquet(layout.artifacts / "configs.parquet", index=False)
    np.save(layout.artifacts / "predictions.npy", np.array(predictions))
    tried = {
        "layers": layer,
        "kind": "free",
        "penalty": 1.0,
        "exponent": [0.0, 1.0],
        "nll_t": 0.9,
        "accuracy": [0.7, 0.71],
    }
    pd.DataFrame(tried).to_parquet(layout.artifacts / "search.parquet", index=False)
    ids = {"config_ids": [*(item[0] for item in settings), *names], "image_rows": rows.tolist(), "evaluated": 321}
    (layout.artifacts / "prediction_ids.json").write_text(json.dumps(ids))
    _verdicts(layout, configs, kind)


def _chosen(configs: pd.DataFrame) -> str:
    val = configs[(configs["images"] == "val") & (configs["arm"] != "baseline") & (configs["status"] == "ok")]
    return val.sort_values("accuracy", ascending=False)["config_id"].iloc[0]


def _controls(
    configs: pd.DataFrame, base: np.ndarray, target: np.ndarray, generator, benchmark: Kind
) -> tuple[pd.DataFrame, list, list]:
    """Twenty draws of each kind for the chosen and the paper's edit, and a uniform and an inverse control."""
    rows, answers, names = [], [], []
    chosen = _chosen(configs)
    arm = configs.loc[configs["config_id"] == chosen, "arm"].iloc[0]
    for name, of in ((arm, chosen), ("paper", "similarity_0.0_1.5")):
        for kind, draws in (("random", range(20)), ("decile", range(20)), ("uniform", [np.nan]), ("inverse", [np.nan])):
            for draw in draws:
                config_id = f"{name}-{kind}-{draw}"
                names.append(config_id)
                flips = generator.random(len(base)) < 0.03
                answers.append(
                    np.where(flips, generator.integers(0, len(benchmark.classes), len(base)), base).astype(np.uint8)
                )
                setting = {"config_id": config_id, "arm": kind, "criterion": name, "control_of": of, "seed": draw}
                accuracy = (answers[-1] == target).mean()
                rows += [
                    {**setting, "layer": benchmark.edited, "images": images, "status": "ok", "accuracy": accuracy}
                    for images in ("val", "test", "test_noleaks", "val_test")
                ]
    return pd.DataFrame(rows), answers, names


def _verdicts(layout: Layout, configs: pd.DataFrame, kind: Kind) -> None:
    best = _chosen(configs[configs["control_of"].isna()])
    verdict = {"gains": 9, "losses": 7, "mcnemar_p": 0.8, "holm_p": 1.0, "delta_accuracy": 0.02}
    verdict |= {"ci_low_accuracy": -0.05, "ci_high_accuracy": 0.08, "control_percentile": 40.0}
    verdict |= {"detectable": 13.0, "detectable_points": 12.5}
    verdict |= {
        "verdict": "no evidence",
        "why": "Holm p = 1",
        "delta_macro_f1": 0.01,
        "control_p": 0.6,
        "control_draws": 20,
    }
    verdict |= {"accuracy": 0.7, "random_p95": 0.72, "uniform_accuracy": 0.71, "inverse_accuracy": 0.69}
    verdict |= {"rows_differing": 6.0, "ci_high_nll_t": 0.001}
    for name in kind.classes:
        verdict |= {f"delta_recall_{name}": 0.01, f"ci_low_recall_{name}": -0.03, f"ci_high_recall_{name}": 0.05}
    members = [(best, "val"), ("weight_norm_1.5", "val"), ("similarity_0.0_1.5", "paper")]
    measured = configs.set_index(["config_id", "images"])["accuracy"]
    arms = dict(zip(configs["config_id"], configs["arm"], strict=True))
    table = [
        {"config_id": name, "arm": arms[name], "selected_on": selected_on, "images": images, **verdict}
        | {"accuracy": measured[name, images]}
        for images in ("test", "test_noleaks", "val_test")
        for name, selected_on in members
    ]
    pd.DataFrame(table).to_parquet(layout.artifacts / "verdicts.parquet", index=False)
    (layout.reports / "compare.json").write_text(json.dumps({"chosen": best}))
