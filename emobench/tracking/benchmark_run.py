"""The run of a whole benchmark: the answer, the accuracies that count, the page, and all tables."""

import dataclasses
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import yaml

from emobench import costs
from emobench.edits.predictions import FILES
from emobench.reporting import tables
from emobench.reporting.results import Results
from emobench.settings.results import CROSS_FITTED
from emobench.tracking.overview import NOTE
from emobench.tracking.runs import JUDGED, MOST, RunRecord, at_most, numbers_of, protocol

AUDIT = ("images_total", "images_train", "images_val", "images_test", "removed_total", "leaks_total")
AUDIT += ("conflict_images", "near_copies_total")
"""What is logged of the audit; counts by class and reason stand in its table."""
LAST = ("data.audit", "data.synthetic", "annotate", "network.file", "network.input", "network.train", "clip", "record")
LAST += ("edit.memory", "edit.jobs", "edit.scheduler", "edit.search", "dissect.rank", "dissect.wpmi", "report", "track")
"""Beginnings of the params that rarely differ between runs to be compared: they give way where there are too many."""
VERDICTS = ("improves", "no evidence", "harms")


def benchmark_record(
    results: Results, note: str, tags: Mapping[str, str], hashes: Mapping[str, str] | None = None
) -> RunRecord:
    """The parent run: params, the accuracies that count, the small metrics, tables, the page without pixels.

    Args:
        results: the benchmark.
        note: Markdown that MLflow shows with the run.
        tags: where the results come from.
        hashes: of what they come from, by name.
    """
    tags = {**tags, NOTE: note, "limited": str(results.limited).lower()}
    # Which one "auto" became on the machine that trained.
    tags |= {f"{name}_precision": results.precision(name) for name in ("network", "clip")}
    tags["protocol"] = protocol(results.verdicts["selected_on"].unique())
    for row in _folded(results):
        tags[f"{CROSS_FITTED}_verdict"] = row["verdict"]
    if results.chosen_id is not None:
        tags["verdict"] = tables.verdict_of(results, results.chosen_id)["verdict"]
    pages = [results.layout.reports / name for name in ("index.html", "atlas.html")]
    files = {f"report/{page.name}": page.read_bytes() for page in pages if page.is_file()}
    for figure in sorted((results.layout.reports / "figures").glob("*.svg")):
        files[f"figures/{figure.name}"] = figure.read_bytes()
    files |= run_files(results, [results.baseline_id, *results.edit_ids])
    files["params.yaml"] = yaml.safe_dump(dataclasses.asdict(results.params), sort_keys=False).encode()
    system, metrics = _system(results), numbers_of(_metrics(results))
    kept = dict(list(metrics.items())[: MOST - len(system)])
    settings = settings_of(results)
    first = sorted(settings, key=lambda name: name.startswith(LAST))
    return RunRecord(
        key=f"benchmark/{results.params.name}",
        kind="benchmark",
        params=at_most({name: settings[name] for name in first}),
        metrics=kept,
        tags=tags,
        files=files,
        name=results.params.name,
        tables=_tables(results, settings),
        hashes=dict(hashes or {}),
        system=system,
    )


def settings_of(results: Results) -> dict[str, str]:
    """All of params.yaml, flat."""
    return {name: str(value) for name, value in _flat(dataclasses.asdict(results.params), ".")}


def _metrics(results: Results) -> dict[str, Any]:
    """The accuracies that count first, then verdicts, the CLIP, the audit, held-out evidence."""
    shown = {"baseline": results.baseline_id, "paper": results.paper_id, "chosen": results.chosen_id}
    metrics: dict[str, Any] = {}
    for name, config_id in shown.items():
        if config_id is not None:
            every = {images: results.config(config_id, images) for images in results.image_sets}
            metrics |= {f"{name}_{images}_accuracy": config["accuracy"] for images, config in every.items()}
    on_test = results.verdicts[results.verdicts["images"] == "test"]
    metrics |= {f"verdicts_{name.replace(' ', '_')}": int((on_test["verdict"] == name).sum()) for name in VERDICTS}
    wanted = ("accuracy", "delta_accuracy", *JUDGED)
    metrics |= {f"{CROSS_FITTED}_{name}": row[name] for row in _folded(results) for name in wanted if name in row}
    metrics |= {f"clip_{key}": value for key, value in _flat(results.metrics("clip"), "_") if key != "limited"}
    audit = dict(_flat(results.metrics("audit"), "_"))
    metrics |= {f"audit_{key}": audit[key] for key in AUDIT if key in audit}
    return metrics | {f"held_out_{key}": value for key, value in _flat(results.metrics("held_out"), "_")}


def _folded(results: Results) -> list[dict[str, Any]]:
    """The verdict on what was chosen and judged by folds, where params ask for it."""
    rows: list[dict[str, Any]] = results.verdicts[results.verdicts["selected_on"] == CROSS_FITTED].to_dict("records")
    return rows


def _system(results: Results) -> dict[str, float]:
    """What each stage cost here, under the names that MLflow's UI shows as system metrics."""
    found = {}
    for row in costs.latest(results.layout):
        if row["stage"] != "track":
            found[f"system/{row['stage']}_seconds"] = float(row["seconds"])
            found[f"system/{row['stage']}_peak_memory_mib"] = float(row["peak_memory_mib"])
    return found


def _tables(results: Results, settings: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """What is too long for metrics and params."""
    edits = results.configs[results.configs["images"] == "test"].dropna(axis=1, how="all")
    by_name = {"params": settings, "audit": dict(_flat(results.metrics("audit"), "_"))}
    by_name["held_out"] = dict(_flat(results.metrics("held_out"), "_"))
    found = {name: pd.DataFrame({"name": list(one), "value": list(one.values())}) for name, one in by_name.items()}
    found |= {"verdicts": results.verdicts, "edits": edits, "layers": results.layers}
    return {name: table for name, table in found.items() if len(table)}


def _flat(values: Mapping[str, Any], joint: str, above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested names joined, in MLflow's alphabet."""
    for name, value in values.items():
        path = above + re.sub(r"[^\w .:/-]", "_", str(name))
        if isinstance(value, Mapping):
            yield from _flat(value, joint, path + joint)
        else:
            yield path, value


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
