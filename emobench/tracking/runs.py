"""What is tracked of a benchmark, as plain records: one for the baseline, each dissection and each edit.

Names are flat and the same for every kind of run: a metric of an image set is ``<images>_<metric>`` (test_accuracy,
val_test_nll), shares are in [0, 1], and a delta is this run minus the baseline (``<images>_delta_accuracy``, on test
also of each class: ``test_delta_recall_happy``) or minus the published accuracy on the same images
(``delta_published``).
"""

import dataclasses
import io
import json
import math
import numbers
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from emobench.edits.cross_fitted import NAME as CROSS_FITTED
from emobench.edits.predictions import FILES
from emobench.reporting import tables
from emobench.reporting.figures.edits import confusion_picture
from emobench.reporting.results import Results

SETTINGS = ("layer", "arm", "criterion", "concept_set", "similarity_fn", "tau", "factor", "operation", "control_of")
SETTINGS += ("seed", "status", "n_up", "n_down", "config_id")
HEADLINES = {"accuracy", "macro_f1", "nll"}
"""Metrics of every image set. Of test all are logged: a run has at most some sixty, each of which costs time."""
JUDGED = ("gains", "losses", "mcnemar_p", "holm_p", "ci_low_accuracy", "ci_high_accuracy", "control_p")
JUDGED += ("control_draws", "control_percentile", "detectable")
"""What a verdict adds; the rest of it is in the page's tables."""
Row = Mapping[str, Any]
NOTE = "mlflow.note.content"
"""The tag whose Markdown MLflow's UI shows as the run's description."""
OWN = (NOTE, "verdict", "protocol", f"{CROSS_FITTED}_verdict")
"""Tags of a benchmark's run that are not true of its nested runs."""
PROTOCOLS = {"val": "honest", "paper": "paper", CROSS_FITTED: CROSS_FITTED}
"""By what selected an edit: honest is chosen on val and tested on test, paper is chosen by what was published."""


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """One run: key in the benchmark, kind (benchmark, baseline, dissection, edit, control), what is logged, files.

    ``pictures`` are functions: they are drawn only for a run that the store lacks.
    """

    key: str
    kind: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    pictures: dict[str, Callable[[], bytes]] = dataclasses.field(default_factory=dict)


def benchmark_record(results: Results, note: str, tags: Mapping[str, str]) -> RunRecord:
    """The parent run: all of params.yaml, the accuracies that count, the small metrics, the page without pixels.

    Args:
        results: the benchmark.
        note: Markdown that MLflow shows with the run.
        tags: where the results come from.
    """
    shown = {"baseline": results.baseline_id, "paper": results.paper_id, "chosen": results.chosen_id}
    metrics: dict[str, Any] = {}
    for name, config_id in shown.items():
        if config_id is not None:
            every = {images: results.config(config_id, images) for images in results.image_sets}
            metrics |= {f"{name}_{images}_accuracy": config["accuracy"] for images, config in every.items()}
    for name in ("audit", "clip", "held_out"):
        metrics |= {f"{name}_{key}": value for key, value in _flat(results.metrics(name), "_")}
    for row in results.verdicts[results.verdicts["selected_on"] == CROSS_FITTED].to_dict("records"):
        wanted = ("accuracy", "delta_accuracy", *JUDGED)
        metrics |= {f"{CROSS_FITTED}_{name}": row[name] for name in wanted if name in row}
        tags = {**tags, f"{CROSS_FITTED}_verdict": row["verdict"]}
    params = {name: str(value) for name, value in _flat(dataclasses.asdict(results.params), ".")}
    tags = {**tags, NOTE: note, "limited": str(results.limited).lower()}
    # Which one "auto" became on the machine that trained.
    tags |= {f"{name}_precision": results.precision(name) for name in ("network", "clip")}
    tags["protocol"] = _protocol(results.verdicts["selected_on"].unique())
    if results.chosen_id is not None:
        tags["verdict"] = tables.verdict_of(results, results.chosen_id)["verdict"]
    pages = [results.layout.reports / name for name in ("index.html", "atlas.html")]
    files = {f"report/{page.name}": page.read_bytes() for page in pages if page.is_file()}
    for figure in sorted((results.layout.reports / "figures").glob("*.svg")):
        files[f"figures/{figure.name}"] = figure.read_bytes()
    files |= run_files(results, [results.baseline_id, *results.edit_ids])
    return RunRecord(f"benchmark/{results.params.name}", "benchmark", params, _numbers(metrics), tags, files)


def _protocol(selected_on: Iterable[str]) -> str:
    return ", ".join(PROTOCOLS[name] for name in selected_on)


def _flat(values: Mapping[str, Any], joint: str, above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested names joined, in MLflow's alphabet."""
    for name, value in values.items():
        path = above + re.sub(r"[^\w .:/-]", "_", str(name))
        if isinstance(value, Mapping):
            yield from _flat(value, joint, path + joint)
        else:
            yield path, value


def run_records(results: Results) -> Iterator[RunRecord]:
    """The nested runs of a benchmark, the baseline first."""
    configs, tested = _by_config(results.configs), _by_config(results.verdicts)
    base = {row["images"]: row for row in configs[results.baseline_id]}
    shown = {config_id: config_id for config_id in tested}
    shown |= {config_id: name for name, config_id in results.shown_edits().items()}
    shown[results.baseline_id] = "baseline"
    yield _classifier(results, configs.pop(results.baseline_id), [], base, shown)
    for row in results.layers.to_dict("records"):
        yield _dissection(results, row)
    for config_id, rows in configs.items():
        yield _classifier(results, rows, tested.get(config_id, []), base, shown)
    for keys, rows in results.controls.groupby(["control_of", "criterion", "arm"], sort=False):
        yield _controls(rows, base, *keys)


def _by_config(table: pd.DataFrame) -> dict[str, list[Row]]:
    """The rows of each configuration. All at once: pandas takes as long for the rows of one."""
    grouped: dict[str, list[Row]] = {}
    for row in table.to_dict("records"):
        grouped.setdefault(row["config_id"], []).append(row)
    return grouped


def _controls(rows: pd.DataFrame, base: Mapping[str, Row], control_of: str, criterion: str, kind: str) -> RunRecord:
    """All draws of one kind of control of one edit: quantiles as metrics, every draw's accuracy as a file."""
    metrics: dict[str, Any] = {"draws": rows["config_id"].nunique()}
    for images, drawn in rows.groupby("images", sort=False)["accuracy"]:
        delta = drawn.median() - base[images]["accuracy"]
        metrics |= {f"{images}_accuracy": drawn.median(), f"{images}_delta_accuracy": delta}
        metrics |= {f"{images}_accuracy_p05": drawn.quantile(0.05), f"{images}_accuracy_p95": drawn.quantile(0.95)}
    settings = {"arm": kind, "criterion": criterion, "control_of": control_of, "layer": str(rows["layer"].iloc[0])}
    table = rows.pivot(index="config_id", columns="images", values="accuracy").reset_index()
    files = {"draws.csv": table.to_csv(index=False, float_format="%.6g").encode()}
    return RunRecord(f"control/{control_of}/{criterion}/{kind}", "control", settings, _numbers(metrics), {}, files)


def _dissection(results: Results, row: Mapping[str, Any]) -> RunRecord:
    """One layer described by one concept set and one similarity function."""
    names = ("layer", "concept_set", "similarity_fn")
    settings = {name: str(row[name]) for name in names} | {"tau": f"{results.params.dissect.tau:g}"}
    key = "dissection/" + "/".join(settings[name] for name in names)
    return RunRecord(key, "dissection", settings, _numbers({k: v for k, v in row.items() if k not in names}))


def _classifier(
    results: Results, rows: list[Row], tested: list[Row], base: Mapping[str, Row], shown: Mapping[str, str]
) -> RunRecord:
    """The baseline or one edit: settings, metrics on every image set, confusion matrices, what the verdicts say."""
    first, config_id = rows[0], rows[0]["config_id"]
    metrics: dict[str, Any] = {}
    for row in rows:
        images = row["images"]
        wanted = set(row) - {*SETTINGS, "images"} if images == "test" else HEADLINES & set(row)
        metrics |= {f"{images}_{name}": row[name] for name in row if name in wanted}
        compared = ["accuracy", *(f"recall_{name}" for name in results.classes if images == "test")]
        metrics |= {f"{images}_delta_{name}": row[name] - base[images][name] for name in compared}
    if results.published is not None:
        metrics["delta_published"] = metrics["val_test_accuracy"] - results.published
    metrics |= {name: first[name] for name in ("n_up", "n_down") if name in first}
    settings = {name: f"{first[name]}" for name in SETTINGS if name in first and pd.notna(first[name])}
    tags = {"shown": shown[config_id]} if config_id in shown else {}
    for row in tested:
        metrics |= {f"{row['images']}_{name}": row[name] for name in JUDGED if name in row}
        if row["images"] == "test":
            selected = list(dict.fromkeys(judged["selected_on"] for judged in tested))
            tags |= {"verdict": row["verdict"], "selected_on": ", ".join(selected), "protocol": _protocol(selected)}
    files, pictures = _files(results, config_id, shown.get(config_id))
    kind = "baseline" if config_id == results.baseline_id else "edit"
    return RunRecord(f"{kind}/{config_id}", kind, settings, _numbers(metrics), tags, files, pictures)


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


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among the values as floats, which is all that MLflow compares, by names in its alphabet."""
    return {
        re.sub(r"[^\w .:/-]", "_", name): float(value)
        for name, value in values.items()
        if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    }


def run_files(results: Results, config_ids: Sequence[str]) -> dict[str, bytes]:
    """The artifacts of a benchmark's MLflow run from which emobench.edits.predictions.of_run reads the answers again.

    Args:
        results: the benchmark.
        config_ids: whose answers, the baseline's among them. Each takes a byte an image.
    """
    at = [results.config_ids.index(name) for name in config_ids]
    array = io.BytesIO()
    np.save(array, np.ascontiguousarray(results.predictions[at]), allow_pickle=False)
    rows, imageset = results.image_rows, results.imageset
    sets = {name: np.searchsorted(rows, chosen).tolist() for name, chosen in imageset.evaluation_rows().items()}
    named = {"baseline": results.baseline_id, "chosen": results.chosen_id, "paper": results.paper_id}
    ids = {
        "config_ids": list(config_ids),
        "named": {name: config_id for name, config_id in named.items() if config_id in config_ids},
        "image_rows": rows.tolist(),
        "images_digest": imageset.digest(),
        "classes": list(results.classes),
        "labels": imageset.labels[rows].tolist(),
        "positions": sets,
    }
    return dict(zip(FILES, (array.getvalue(), json.dumps(ids).encode()), strict=True))
