"""A small benchmark's result files as the stages before the report write them, with numbers that agree."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
from small_card import write_small_card

import emobench
from emobench.layout import Layout
from emobench.params import LAYERS, Params, load_params
from emobench.vocabulary import CLASSES, concept_classes, concept_set

SIZES = {"train": 140, "val": 70, "test": 105}
METRICS = ("balanced_accuracy", "macro_f1", "top2", "nll", "ece", "brier", "temperature", "nll_t", "ece_t")


def small_params(source: str = "synthetic", **edit) -> Params:
    """The demo's params with a grid of 3 x 3 and two top units."""
    params = load_params(Path(emobench.__file__).parent / "presets" / "demo.yaml")
    edit = {"taus": [-0.5, 0.0, 0.5], "factors": [1.0, 1.5, 2.0], **edit}
    return dataclasses.replace(
        params,
        name="small",
        data=dataclasses.replace(params.data, source=source),
        edit=dataclasses.replace(params.edit, **edit),
        report=dataclasses.replace(params.report, top_units=2, top_images=3),
    )


def write_results(root: Path, params: Params, *, seed: int = 0, units: int = 12, sizes=None, layers=LAYERS) -> Layout:
    """Writes every input of the stages report and track below ``root``."""
    layout, generator = Layout(params.name, root), np.random.default_rng(seed)
    for folder in (layout.data, layout.models / "clip", layout.artifacts, layout.reports):
        folder.mkdir(parents=True)
    index = _images(layout, generator, sizes or SIZES)
    write_dissection(layout, params, index, generator, units, layers)
    write_edits(layout, params, index, generator)
    limited = int(params.data.limit > 0)
    _write(layout.reports / "audit.json", {"images": len(index), "removed": 0, "leaks": 3, "limited": limited})
    _write(layout.reports / "baseline.json", {"limited": limited, "precision": "bfloat16", "test": {"accuracy": 0.7}})
    _write(layout.reports / "clip.json", {"mean_auroc": 0.91, "limited": limited, "precision": "float32"})
    _write(layout.models / "clip" / "clip.json", {"source": "train", "saw_labels": True, "saw_annotations": True})
    proof = {"evidence": "truth", "lin3": {"emotions": {"soft_wpmi": {"own_class": 6, "units": 7}}}}
    proof["trained"] = {"lin2": {"described": 0.81, "random": 0.5, "units": 11}}
    _write(layout.reports / "proof.json", proof)
    columns = ["concept", "positives", "negatives", "auroc", "note"]
    rows = [(name, 60, 200, 0.9, None) for name in concept_set("expressions")[:20]]
    rows.append(("tearful eyes", 12, 300, np.nan, "fewer than 50 positives"))
    pd.DataFrame(rows, columns=columns).to_csv(layout.reports / "clip_concepts.csv", index=False)
    history = {"epoch": [1, 2], "train_loss": [1.9, 1.2], "val_loss": [1.8, 1.3], "val_accuracy": [0.3, 0.6]}
    pd.DataFrame(history).assign(lr=0.01).to_csv(layout.reports / "history.csv", index=False)
    return layout


def _write(path: Path, value) -> None:
    path.write_text(json.dumps(value))


def _images(layout: Layout, generator, sizes) -> pd.DataFrame:
    count = sum(sizes.values())
    np.save(layout.data / "images.npy", generator.integers(0, 256, (count, 48, 48)).astype(np.uint8))
    index = pd.DataFrame(
        {
            "image_id": [f"synthetic/{number:06}" for number in range(count)],
            "label": np.arange(count) % len(CLASSES),
            "split": np.repeat(list(sizes), list(sizes.values())),
            "status": "kept",
            "reason": None,
            "duplicate_of": None,
            "near_duplicate_of": None,
            "leaks": False,
            "conflict": False,
        }
    )
    index.loc[index.index[-3:], "leaks"] = True
    index.loc[index.index[-1], ["status", "reason"]] = ["removed", "blank"]
    index.to_parquet(layout.data / "index.parquet")
    write_small_card(layout.data)
    annotations = pd.DataFrame(generator.random((count, 25)), columns=list(concept_set("expressions")))
    annotations["flared nostrils"] = np.nan
    annotations.insert(0, "image_id", index["image_id"])
    annotations.to_parquet(layout.data / "annotations.parquet")
    return index


def write_dissection(layout: Layout, params: Params, index: pd.DataFrame, generator, count: int, layers) -> None:
    tables, rows = [], []
    train = np.flatnonzero(index["split"] == "train")
    for position, layer in enumerate(layers):
        for name in params.concept_sets:
            concepts = np.array(concept_set(name))
            size = 7 if layer == "lin3" else count
            best = generator.integers(0, len(concepts), size)
            similarity = generator.gamma(2, 0.4 + 0.1 * position, size) - 0.4
            chance = np.array([len(concept_classes()[concept]) / 7 for concept in concepts[best]])
            units = pd.DataFrame(
                {
                    "layer": layer,
                    "unit": range(size),
                    "concept_set": name,
                    "similarity_fn": "soft_wpmi",
                    "description": concepts[best],
                    "similarity": similarity,
                    "runner_up": concepts[(best + 1) % len(concepts)],
                    "margin": generator.random(size),
                    "top_images": [generator.choice(train, 5, replace=False) for _ in range(size)],
                    "label_accuracy": generator.binomial(5, np.minimum(1, chance * (0.8 + position / 10))) / 5,
                    "chance": chance,
                    "dead": np.arange(size) == 3,
                }
            )
            units["lift"] = units["label_accuracy"] / units["chance"]
            tables.append(units)
            rows.append({"layer": layer, "concept_set": name, "similarity_fn": "soft_wpmi", **_summary(units)})
    _write_evidence(layout, rows, generator)
    _write_profiles(layout, params, pd.concat(tables), generator)
    pd.concat(tables).to_parquet(layout.artifacts / "units.parquet", index=False)
    pd.DataFrame(rows).to_parquet(layout.artifacts / "layers.parquet", index=False)
    (layout.reports / "dissect.json").write_text(json.dumps({"limited": 0}))


def _write_profiles(layout: Layout, params: Params, units: pd.DataFrame, generator) -> None:
    """Similarities to all concepts, activation by class, and what scaling by 0 does to the units of lin2."""
    arrays = {}
    for name in params.concept_sets:
        count = int((units["concept_set"] == name).sum())
        arrays[f"concepts_{name}"] = np.array(concept_set(name))
        arrays[f"similarity_{name}"] = generator.normal(size=(count, len(concept_set(name)))).astype(np.float16)
    arrays["class_activation"] = generator.normal(size=(count, 7)).astype(np.float32)
    np.savez(layout.artifacts / "profiles.npz", **arrays)
    effects = units.loc[(units["layer"] == "lin2") & (units["concept_set"] == "emotions"), ["layer", "unit"]]
    effects = effects.assign(images=70, delta_accuracy=0.0, delta_nll=generator.normal(0, 0.01, len(effects)))
    effects.to_parquet(layout.artifacts / "unit_effects.parquet", index=False)


def _write_evidence(layout: Layout, rows: list[dict], generator) -> None:
    """Held-out scores and nulls of the same layers, for the trained and the untrained network."""
    evidence, nulls = [], []
    for row in rows:
        key = {name: row[name] for name in ("layer", "concept_set", "similarity_fn")}
        concepts = list(concept_set(row["concept_set"]))
        for network in ("trained", "untrained"):
            shares = [1 / len(concepts)] * len(concepts)
            quantiles = np.sort(generator.normal(-0.4, 0.2, 101)).tolist()
            drawn = {"quantiles": quantiles, "null_shares": shares, "unit_shares": shares}
            nulls.append({"network": network, **key, "concepts": concepts, **drawn})
            for source, metric in itertools.product(("clip", "measured"), ("f1", "iou", "pearson", "cosine", "auprc")):
                low, middle, high = np.sort(generator.random(3))
                scores = {"described": middle, "random": low, "constant": (low + middle) / 2, "best": high}
                evidence.append({"network": network, **key, "source": source, "metric": metric, "units": 9, **scores})
        measured = evidence[-11]  # the trained network's last row
        row |= {f"measured_auprc_{name}": measured[name] for name in ("described", "random", "constant", "best")}
    pd.DataFrame(evidence).to_parquet(layout.artifacts / "evidence.parquet", index=False)
    pd.DataFrame(nulls).to_parquet(layout.artifacts / "nulls.parquet", index=False)


def _summary(units: pd.DataFrame) -> dict:
    chosen = units["similarity"] > 0
    row = {"num_units": len(units), "num_interp": int(chosen.sum()), "num_uninterp": int((~chosen).sum())}
    for group, mask in {"overall": chosen | True, "interp": chosen, "uninterp": ~chosen}.items():
        row[f"{group}_acc"] = units.loc[mask, "label_accuracy"].mean()
        row[f"{group}_chance"] = units.loc[mask, "chance"].mean()
    lift = row["overall_acc"] / row["overall_chance"]
    row |= {"prop_interp": chosen.mean(), "lift": lift, "untrained_prop_interp": 0.4, "dead": 1}
    row |= {"prop_significant": 0.8, "untrained_prop_significant": 0.3, "effect": 4.5, "untrained_effect": 1.5}
    row |= {"stability": 0.7, "stability_noise": 0.9, "agreement": 0.4}
    row |= {
        f"{twin}{name}": 0.1 for twin in ("", "untrained_") for name in ("clarity", "redundancy", "polysemanticity")
    }
    return row | {
        "truth_units": 10,
        "truth_top1": 0.3,
        "truth_top1_random": 0.04,
        "truth_top3": 0.5,
        "truth_top3_random": 0.12,
    }


def write_edits(layout: Layout, params: Params, index: pd.DataFrame, generator) -> None:
    labels, split, kept = index["label"].to_numpy(), index["split"].to_numpy(), (index["status"] == "kept").to_numpy()
    rows = np.flatnonzero(split != "train")
    sets = {
        "val": rows[(split[rows] == "val") & kept[rows]],
        "test": rows[(split[rows] == "test") & kept[rows]],
        "test_noleaks": rows[(split[rows] == "test") & kept[rows] & ~index["leaks"].to_numpy(bool)[rows]],
        "val_test": rows,
    }
    base = np.where(generator.random(len(rows)) < 0.7, labels[rows], generator.integers(0, 7, len(rows)))
    settings = [("baseline", "baseline", np.nan, np.nan)]
    settings += [(f"similarity_{t}_{f}", "similarity", t, f) for t in params.edit.taus for f in params.edit.factors]
    for arm in ("weight_norm", "proportional"):
        settings += [(f"{arm}_{f}", arm, np.nan, f) for f in params.edit.factors]
    predictions, table = [], []
    for config_id, arm, tau, factor in settings:
        flips = generator.random(len(rows)) < (0 if arm == "baseline" or factor == 1.0 else 0.02 * factor)
        predictions.append(np.where(flips, generator.integers(0, 7, len(rows)), base).astype(np.uint8))
        setting = {"config_id": config_id, "arm": arm, "layer": "lin2", "tau": tau, "factor": factor, "n_up": 9}
        status = "degenerate" if tau == params.edit.taus[-1] and arm == "similarity" else "ok"
        for name, chosen in sets.items():
            at = np.isin(rows, chosen)
            right = predictions[-1][at] == labels[rows][at]
            metrics = {f"recall_{c}": right[labels[rows][at] == k].mean() for k, c in enumerate(CLASSES)}
            metrics |= {"accuracy": right.mean(), **{metric: generator.random() for metric in METRICS}}
            table.append({**setting, "images": name, "n_down": 3, "status": status, **metrics})
    configs = pd.DataFrame(table).assign(criterion="similarity", operation="rows", control_of=None, seed=np.nan)
    drawn, answers, names = _controls(configs, predictions[0], labels[rows], generator)
    predictions += answers
    configs = pd.concat([configs, drawn], ignore_index=True)
    configs.to_parquet(layout.artifacts / "configs.parquet", index=False)
    np.save(layout.artifacts / "predictions.npy", np.array(predictions))
    tried = {
        "layers": "lin2",
        "kind": "free",
        "pull": 1.0,
        "strength": [0.0, 1.0],
        "nll_t": 0.9,
        "accuracy": [0.7, 0.71],
    }
    pd.DataFrame(tried).to_parquet(layout.artifacts / "search.parquet", index=False)
    ids = {"config_ids": [*(item[0] for item in settings), *names], "image_rows": rows.tolist(), "evaluated": 321}
    (layout.artifacts / "prediction_ids.json").write_text(json.dumps(ids))
    _verdicts(layout, configs)


def _chosen(configs: pd.DataFrame) -> str:
    val = configs[(configs["images"] == "val") & (configs["arm"] != "baseline") & (configs["status"] == "ok")]
    return val.sort_values("accuracy", ascending=False)["config_id"].iloc[0]


def _controls(
    configs: pd.DataFrame, base: np.ndarray, target: np.ndarray, generator
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
                answers.append(np.where(flips, generator.integers(0, 7, len(base)), base).astype(np.uint8))
                setting = {"config_id": config_id, "arm": kind, "criterion": name, "control_of": of, "seed": draw}
                accuracy = (answers[-1] == target).mean()
                rows += [
                    {**setting, "layer": "lin2", "images": images, "status": "ok", "accuracy": accuracy}
                    for images in ("val", "test", "test_noleaks", "val_test")
                ]
    return pd.DataFrame(rows), answers, names


def _verdicts(layout: Layout, configs: pd.DataFrame) -> None:
    best = _chosen(configs[configs["control_of"].isna()])
    verdict = {"gains": 9, "losses": 7, "mcnemar_p": 0.8, "holm_p": 1.0, "delta_accuracy": 0.02}
    verdict |= {"ci_low_accuracy": -0.05, "ci_high_accuracy": 0.08, "control_percentile": 40.0}
    verdict |= {
        "verdict": "no evidence",
        "why": "Holm p = 1",
        "delta_macro_f1": 0.01,
        "control_p": 0.6,
        "control_draws": 20,
    }
    verdict |= {"accuracy": 0.7, "random_p95": 0.72, "uniform_accuracy": 0.71, "inverse_accuracy": 0.69}
    verdict |= {"rows_differing": 6.0, "ci_high_nll_t": 0.001}
    for name in CLASSES:
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
