"""The page's tables: plain text cells, ready to be shown."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from emobench.reporting import tables
from emobench.reporting.figures.edits import signed
from emobench.reporting.results import Results

NONE = "–"
SHARE = "{:.1%}"


@dataclass(frozen=True)
class Table:
    """A caption, column heads, rows of text cells, and the number of leading columns that hold words, not numbers."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    words: int = 1


def text(value: Any, form: str = "{}") -> str:
    """A cell: the value in a format, or a dash for None and NaN."""
    missing = value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
    return NONE if missing else form.format(value)


def edits_table(results: Results) -> Table:
    """The metrics of baseline, paper's and chosen edit on every image set."""
    metrics = {
        "accuracy": "{:.2%}",
        "balanced_accuracy": "{:.2%}",
        "macro_f1": "{:.3f}",
        "top2": "{:.2%}",
        "nll": "{:.4f}",
    }
    metrics |= {"ece": "{:.4f}", "brier": "{:.4f}", "nll_t": "{:.4f}", "ece_t": "{:.4f}"}
    shown = {"baseline": results.baseline_id, **results.shown_edits()}
    rows = [
        [images, name, *(text(results.config(config_id, images).get(key), form) for key, form in metrics.items())]
        for images in results.image_sets
        for name, config_id in shown.items()
    ]
    heads = [key.replace("_t", ", calibrated").replace("_", " ") for key in metrics]
    caption = "Metrics on each image set. Calibrated: after dividing the logits by a temperature fitted on val."
    return Table(caption, ["images", "network", *heads], rows, words=2)


def verdicts_table(results: Results) -> Table:
    """Every configuration that was tested against the baseline."""
    table = results.verdicts
    forms = {
        "config_id": "{}",
        "selected_on": "{}",
        "images": "{}",
        "verdict": "{}",
        "gains": "{:.0f}",
        "losses": "{:.0f}",
    }
    forms |= {"mcnemar_p": "{:.3g}", "holm_p": "{:.3g}", "control_percentile": "{:.0f}"}
    forms = {name: form for name, form in forms.items() if name in table}
    rows = [[text(row[name], form) for name, form in forms.items()] for row in table.to_dict("records")]
    for cells, row in zip(rows, table.to_dict("records"), strict=True):
        ends = [row[f"{end}_accuracy"] for end in ("delta", "ci_low", "ci_high")]
        cells.append(NONE if any(map(pd.isna, ends)) else "{} [{}, {}]".format(*(signed(100 * end) for end in ends)))
    heads = [name.replace("_", " ").replace("mcnemar p", "p").replace("holm p", "p, Holm") for name in forms]
    words = sum(name in forms for name in ("config_id", "selected_on", "images", "verdict"))
    caption = (
        "Edits tested against the baseline, image by image: exact McNemar test, and the interval of the difference."
    )
    return Table(caption, [*heads, "points [interval]"], rows, words)


def class_table(results: Results) -> Table:
    """Recall, precision and F1 of every class on test for baseline, paper's and chosen edit."""
    shown = {"baseline": results.baseline_id, **results.shown_edits()}
    measured = {
        name: tables.per_class(results.confusion(config_id), results.classes) for name, config_id in shown.items()
    }
    rows = [
        [label, name, f"{row['images']:,}", *(text(row[key], SHARE) for key in ("recall", "precision", "f1"))]
        for label in results.classes
        for name, table in measured.items()
        for row in table[table["class"] == label].to_dict("records")
    ]
    return Table("Each class on test.", ["class", "network", "images", "recall", "precision", "F1"], rows, words=2)


def layer_table(results: Results, concepts: str, function: str) -> Table:
    """Table 1 of the paper with chance and lift."""
    columns = {
        "layer": ("layer", "{}"), "num_interp": ("interpretable", "{:,}"), "num_uninterp": ("other", "{:,}"),
        "prop_interp": ("share", SHARE), "untrained_prop_interp": ("share, untrained", SHARE),
        "prop_significant": ("significant", SHARE), "untrained_prop_significant": ("significant, untrained", SHARE),
        "overall_acc": ("accuracy", SHARE), "overall_chance": ("chance", SHARE), "lift": ("lift", "{:.2f}"),
        "measured_auprc_described": ("AUPRC", "{:.3f}"), "measured_auprc_random": ("its chance", "{:.3f}"),
        "interp_acc": ("accuracy, interpretable", SHARE), "interp_chance": ("its chance", SHARE),
        "uninterp_acc": ("accuracy, other", SHARE), "dead": ("dead", "{:.0f}"),
    }  # fmt: skip
    layers = tables.of_dissection(results.layers, concepts, function)
    columns = {name: column for name, column in columns.items() if name in layers}
    rows = [[text(row[name], form) for name, (_, form) in columns.items()] for row in layers.to_dict("records")]
    tau = results.params.dissect.tau
    caption = (
        f"Table 1 of the paper for the {concepts} ({function}), τ = {tau:g}. Lift is accuracy over chance; significant "
        "units differ from random top images; AUPRC is held-out, its chance that of a random description."
    )
    return Table(caption, [head for head, _ in columns.values()], rows)


def ranking_table(results: Results) -> Table:
    """How well the CLIP ranks each concept on val."""
    found = results.plot("clip_concepts").sort_values("auroc", ascending=False, na_position="last", kind="stable")
    numbers = [name for name in found if name not in ("concept", "auroc")]
    rows = [
        [row["concept"], text(row["auroc"], "{:.3f}"), *(text(row[name]) for name in numbers)]
        for row in found.to_dict("records")
    ]
    return Table("How well the CLIP's plain cosine ranks each concept (AUROC).", ["concept", "AUROC", *numbers], rows)


def proof_text(proof: Mapping[str, Any]) -> list[str]:
    """What the held-out evidence says, in words."""
    lines = [f"Descriptions held against the concepts measured on images not used before ({proof['evidence']})."]
    if proof["evidence"] == "truth":
        lines = ["The faces are drawn, so what each shows is known: descriptions can be checked against the truth."]
    return lines


def proof_table(proof: Mapping[str, Any]) -> Table:
    """Mean AUROC of units' activation for the concept they are named after, beside random names and no training."""
    rows = [
        [layer, network, text(row["described"], "{:.3f}"), text(row["random"], "{:.3f}"), f"{row['units']:,}"]
        for network in ("trained", "untrained")
        for layer, row in proof.get(network, {}).items()
    ]
    caption = (
        "Mean AUROC of the units' activation for the concept that their description names, and for a random concept "
        "(0.5 is chance), in the network and in the same one before training."
    )
    return Table(caption, ["layer", "network", "own description", "random description", "units"], rows, words=2)


def metrics_table(caption: str, metrics: Mapping[str, Any]) -> Table:
    """A metrics file as it is: nested names joined."""
    return Table(caption, ["", "value"], [[name, value] for name, value in _flat(metrics)])


def _flat(metrics: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    for name, value in metrics.items():
        path = f"{above}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}: ")
        elif isinstance(value, list):
            yield path, ", ".join(map(str, value)) or NONE
        else:
            yield path, text(value, "{:.4g}" if isinstance(value, float) else "{:,}" if type(value) is int else "{}")
