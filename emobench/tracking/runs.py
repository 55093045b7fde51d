"""What is tracked of a benchmark, as plain records: one for the baseline, each dissection and each edit.

Names are flat and the same for every kind of run: a metric of an image set is ``<images>_<metric>`` (test_accuracy,
val_test_nll), shares are in [0, 1], and a delta is this run minus the baseline (``<images>_delta_accuracy``, on test
also of each class: ``test_delta_recall_happy``) or minus the published accuracy on the same images
(``delta_published``).
"""

import dataclasses
import json
import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from emobench.reporting import tables
from emobench.reporting.figures.edits import confusion_picture
from emobench.reporting.results import Results
from emobench.settings.results import CROSS_FITTED
from emobench.tracking.names import PLACES, distinct, edit_name
from emobench.tracking.overview import NOTE, edit_note

SETTINGS = ("layer", "arm", "criterion", "concept_set", "similarity_fn", "tau", "factor", "operation", "control_of")
SETTINGS += ("seed", "status", "n_up", "n_down", "config_id")
HEADLINES = {"accuracy", "macro_f1", "nll"}
"""Metrics of every image set. Of test all are logged."""
JUDGED = ("gains", "losses", "mcnemar_p", "holm_p", "ci_low_accuracy", "ci_high_accuracy", "control_p")
JUDGED += ("control_draws", "control_percentile", "detectable")
"""What a verdict adds; the rest of it is in the page's tables."""
Row = Mapping[str, Any]
OWN = (NOTE, "verdict", "protocol", f"{CROSS_FITTED}_verdict", "git_changed", "network_precision", "clip_precision")
OWN += ("mlflow.source.git.commit",)
"""Tags of a benchmark's run that its nested runs don't repeat, or that are not true of them."""
MOST = 60
"""Metrics, and params, of a run: more nobody finds his way in, and each costs time. The rest stands in tables."""
UNTRAINED = ("num_interp", "prop_interp", "overall_acc", "lift", "num_significant", "prop_significant", "stability")
UNTRAINED += ("clip_auprc_described", "measured_auprc_described", "truth_top1", "truth_top3")
"""What is logged of the untrained twin of a layer."""
TRIED = ("gains", "losses", "mcnemar_p", "holm_p")
"""What is logged of a verdict on other images than test."""
PROTOCOLS = {"val": "honest", "paper": "paper", CROSS_FITTED: CROSS_FITTED}
"""By what selected an edit: honest is chosen on val and tested on test, paper is chosen by what was published."""


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """One run: key in the benchmark, kind (benchmark, baseline, dissection, edit, control), what is logged, files.

    ``pictures`` are functions: they are drawn only for a run that the store lacks. ``tables`` are long ones for people,
    ``hashes`` of what the results come from, ``system`` what they cost: these differ where the results don't.
    """

    key: str
    kind: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    pictures: dict[str, Callable[[], bytes]] = dataclasses.field(default_factory=dict)
    name: str = ""
    tables: dict[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    hashes: dict[str, str] = dataclasses.field(default_factory=dict)
    system: dict[str, float] = dataclasses.field(default_factory=dict)


def run_records(results: Results) -> list[RunRecord]:
    """The nested runs of a benchmark: the baseline, the edits (judged ones first), dissections, controls."""
    configs, tested = _by_config(results.configs), _by_config(results.verdicts)
    base = {row["images"]: row for row in configs[results.baseline_id]}
    shown = {config_id: config_id for config_id in tested}
    shown |= {config_id: name for name, config_id in results.shown_edits().items()}
    shown[results.baseline_id] = "baseline"
    usual = {place: results.configs[place].mode().get(0) for place in PLACES if place in results.configs}
    records = [_classifier(results, configs.pop(results.baseline_id), [], base, shown, "baseline")]
    names = {config_id: edit_name(rows[0], usual) for config_id, rows in configs.items()}
    for config_id in sorted(configs, key=lambda name: (name not in results.shown_edits().values(), name not in tested)):
        record = _classifier(results, configs[config_id], tested.get(config_id, []), base, shown, names[config_id])
        records.append(record)
    records += [_dissection(results, row) for row in results.layers.to_dict("records")]
    for (edit, criterion, kind), rows in results.controls.groupby(["control_of", "criterion", "arm"], sort=False):
        records.append(_controls(rows, base, edit, criterion, kind, names.get(edit, edit)))
    told = distinct([record.name for record in records])
    return [dataclasses.replace(record, name=name) for record, name in zip(records, told, strict=True)]


def protocol(selected_on: Iterable[str]) -> str:
    """By what edits were selected, in one word each."""
    return ", ".join(PROTOCOLS[name] for name in selected_on)


def _by_config(table: pd.DataFrame) -> dict[str, list[Row]]:
    """The rows of each configuration. All at once: pandas takes as long for the rows of one."""
    grouped: dict[str, list[Row]] = {}
    for row in table.to_dict("records"):
        grouped.setdefault(row["config_id"], []).append(row)
    return grouped


def _controls(
    rows: pd.DataFrame, base: Mapping[str, Row], control_of: str, criterion: str, kind: str, edit: str
) -> RunRecord:
    """All draws of one kind of control of one edit: quantiles as metrics, every draw's accuracy as a file."""
    metrics: dict[str, Any] = {"draws": rows["config_id"].nunique()}
    for images, drawn in rows.groupby("images", sort=False)["accuracy"]:
        delta = drawn.median() - base[images]["accuracy"]
        metrics |= {f"{images}_accuracy": drawn.median(), f"{images}_delta_accuracy": delta}
        metrics |= {f"{images}_accuracy_p05": drawn.quantile(0.05), f"{images}_accuracy_p95": drawn.quantile(0.95)}
    settings = {"arm": kind, "criterion": criterion, "control_of": control_of, "layer": str(rows["layer"].iloc[0])}
    table = rows.pivot(index="config_id", columns="images", values="accuracy").reset_index()
    files = {"draws.csv": table.to_csv(index=False, float_format="%.6g").encode()}
    paper = "paper " if criterion == "paper" else ""
    key, name = f"control/{control_of}/{criterion}/{kind}", f"{kind} {paper}{edit}"
    return RunRecord(key, "control", settings, numbers_of(metrics), {}, files, name=name)


def _dissection(results: Results, row: Mapping[str, Any]) -> RunRecord:
    """One layer described by one concept set and one similarity function."""
    names = ("layer", "concept_set", "similarity_fn")
    settings = {name: str(row[name]) for name in names} | {"tau": f"{results.params.dissect.tau:g}"}
    key = "dissection/" + "/".join(settings[name] for name in names)
    # Of the untrained twin what is compared most; all of it stands in the benchmark's table of layers.
    left = {f"untrained_{name}" for name in row if name not in UNTRAINED}
    metrics = numbers_of({name: value for name, value in row.items() if name not in {*names, *left}})
    name = " ".join(settings[name] for name in ("layer", "similarity_fn", "concept_set"))
    return RunRecord(key, "dissection", settings, at_most(metrics), name=name)


def _classifier(
    results: Results, rows: list[Row], tested: list[Row], base: Mapping[str, Row], shown: Mapping[str, str], name: str
) -> RunRecord:
    """The baseline or one edit: settings, metrics on every image set, confusion matrices, what the verdicts say."""
    first, config_id = rows[0], rows[0]["config_id"]
    kind = "baseline" if config_id == results.baseline_id else "edit"
    settings = {name: f"{first[name]}" for name in SETTINGS if name in first and pd.notna(first[name])}
    tags = {"shown": shown[config_id]} if config_id in shown else {}
    judged = next((row for row in tested if row["images"] == "test"), None)
    if judged is not None:
        selected = list(dict.fromkeys(row["selected_on"] for row in tested))
        tags |= {"verdict": judged["verdict"], "selected_on": ", ".join(selected), "protocol": protocol(selected)}
    if kind == "edit":
        tags[NOTE] = edit_note(next(row for row in rows if row["images"] == "test"), judged)
    files, pictures = _files(results, config_id, shown.get(config_id))
    metrics = _measured(results, rows, tested, base)
    return RunRecord(f"{kind}/{config_id}", kind, settings, metrics, tags, files, pictures, name)


def _measured(results: Results, rows: list[Row], tested: list[Row], base: Mapping[str, Row]) -> dict[str, float]:
    """The metrics of the baseline or one edit, those of the classes last, and only where all of them have room."""
    metrics: dict[str, Any] = {}
    by_class = [f"recall_{name}" for name in results.classes]
    for row in rows:
        images = row["images"]
        wanted = set(row) - {*SETTINGS, *by_class, "images"} if images == "test" else HEADLINES & set(row)
        metrics |= {f"{images}_{name}": row[name] for name in row if name in wanted}
        metrics[f"{images}_delta_accuracy"] = row["accuracy"] - base[images]["accuracy"]
    if results.published is not None:
        metrics["delta_published"] = metrics["val_test_accuracy"] - results.published
    metrics |= {name: rows[0][name] for name in ("n_up", "n_down") if name in rows[0]}
    for row in tested:
        names = JUDGED if row["images"] == "test" else TRIED
        metrics |= {f"{row['images']}_{name}": row[name] for name in names if name in row}
    of_classes: dict[str, float] = {}
    for row in (row for row in rows if row["images"] == "test"):
        of_classes |= {f"test_{name}": row[name] for name in by_class}
        of_classes |= {f"test_delta_{name}": row[name] - base["test"][name] for name in by_class}
    fit = len(numbers_of(metrics | of_classes)) <= MOST
    return at_most(numbers_of(metrics | of_classes if fit else metrics))


def _files(results: Results, config_id: str, shown: str | None) -> tuple[dict[str, bytes], dict[str, Callable]]:
    """Confusion matrices of every image set as numbers; of a shown network also a table by class and a picture."""
    pictures = {}
    counts = {images: results.confusion(config_id, images) for images in results.image_sets}
    matrices = {"classes": list(results.classes), "rows": "true class"}
    matrices |= {images: table.tolist() for images, table in counts.items()}
    files = {"confusion.json": json.dumps(matrices).encode()}
    if shown is not None:
        files["per_class_test.csv"] = (
            tables.per_class(counts["test"], results.classes).to_csv(index=False, float_format="%.6g").encode()
        )
        if results.params.track.pictures:
            base = None if config_id == results.baseline_id else results.confusion(results.baseline_id)
            pictures["confusion_test.png"] = lambda: confusion_picture(
                "confusion", shown, results.classes, counts["test"], base
            ).png()
    return files, pictures


def numbers_of(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among the values as floats, which is all that MLflow compares, by names in its alphabet."""
    return {
        re.sub(r"[^\w .:/-]", "_", name): float(value)
        for name, value in values.items()
        if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    }


def at_most(values: Mapping[str, Any]) -> dict[str, Any]:
    """The first of them, as many as a run may have."""
    return dict(list(values.items())[:MOST])
