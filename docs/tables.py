"""Prints the tables of docs/measured.md and README.md from the committed reports: python docs/tables.py."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from emobench.comparison.networks import networks, text

REPORTS = Path(__file__).parents[1] / "reports" / "reference"
NETWORKS = (
    "fer2013", "fer2013-quarter", "fer2013-fifth", "fer2013-resnet18", "fer2013-mini-xception", "fer2013-face-api",
    "fer2013-deep-emotion",
)  # fmt: skip
PAPER = {
    "conv1a": ("64 of 64", ".22"), "conv1b": ("64 of 64", ".30"), "conv2a": ("127 of 128", ".21"),
    "conv2b": ("127 of 128", ".28"), "conv3a": ("254 of 256", ".26"), "conv3b": ("255 of 256", ".23"),
    "conv4a": ("492 of 512", ".28"), "conv4b": ("494 of 512", ".28"), "lin1": ("3489 of 4096", ".36"),
    "lin2": ("3835 of 4096", ".43"),
}  # fmt: skip
"""Units above tau = 0 and their accuracy in the paper's Table 1."""
HEAD = (
    "layer", "paper: above τ = 0", "here", "untrained", "significant, trained / untrained", "effect", "paper: accuracy",
    "here", "chance", "AUPRC", "random – best", "stable",
)  # fmt: skip


def table_one(name: str, concept_set: str = "expressions", function: str = "soft_wpmi") -> str:
    """The paper's Table 1 with chance, null and held-out evidence beside it."""
    layers = pd.read_csv(REPORTS / name / "layers.csv")
    layers = layers[(layers["concept_set"] == concept_set) & (layers["similarity_fn"] == function)]
    rows = []
    for row in layers.to_dict("records"):
        units, accuracy = PAPER.get(row["layer"], ("–", "–"))
        cells = [
            row["layer"], units, f"{row['num_interp']} of {row['num_units']}", f"{row['untrained_num_interp']:.0f}",
            f"{row['prop_significant']:.0%} / {row['untrained_prop_significant']:.0%}",
            f"{row['effect']:.1f} / {row['untrained_effect']:.1f}", accuracy, _share(row["overall_acc"]),
            _share(row["overall_chance"]), _share(row["measured_auprc_described"]),
            f"{_share(row['measured_auprc_random'])} – {_share(row['measured_auprc_best'])}",
            f"{row['stability']:.0%} / {row['stability_noise']:.0%}",
        ]  # fmt: skip
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD), *rows])


def costs(name: str) -> str:
    """What each stage took."""
    table = pd.read_csv(REPORTS / name / "costs.csv")
    rows = [f"| {row.stage} | {row.seconds:.0f} | {row.peak_memory_mib:.0f} |" for row in table.itertuples()]
    return "\n".join(["| stage | seconds | peak memory (MiB) |", "|---|---|---|", *rows])


def side_by_side() -> str:
    """All networks on FER2013."""
    return text(networks(REPORTS, [name for name in NETWORKS if (REPORTS / name).is_dir()]), "md")


def _share(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def described_truly(name: str = "demo", concept_set: str = "expressions") -> str:
    """How often a description is what the unit truly follows, and the output-layer check, for docs/demo.md."""
    layers = pd.read_csv(REPORTS / name / "layers.csv")
    layers = layers[layers["concept_set"] == concept_set]
    check = json.loads((REPORTS / name / "held_out.json").read_text())["output_layer"]
    lines = [f"| function | the best | of the best three | {check['layer']} |", "|---|---|---|---|"]
    for function, rows in layers.groupby("similarity_fn"):
        first, three = (np.average(rows[column], weights=rows["num_units"]) for column in ("truth_top1", "truth_top3"))
        own = check["concept_sets"]["emotions"][function]
        lines.append(f"| {function} | {first:.0%} | {three:.0%} | {own['own_class']} of {own['units']} |")
    random = [np.average(layers[f"truth_{top}_random"], weights=layers["num_units"]) for top in ("top1", "top3")]
    return "\n".join([*lines, f"| random description | {random[0]:.0%} | {random[1]:.0%} | 1 of 7 |"])


if __name__ == "__main__":
    for part in (side_by_side(), table_one("fer2013"), costs("fer2013"), described_truly()):
        print(part, end="\n\n")
