"""The page's tables of the layers and of how far their descriptions can be trusted."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from emobench.reporting import tables
from emobench.reporting.page_tables import SHARE, Table, text
from emobench.reporting.results import Results


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


def overview_table(results: Results) -> Table:
    """Every layer, concept set and score function in one table."""
    columns = {
        "layer": ("layer", "{}"), "concept_set": ("concepts", "{}"), "similarity_fn": ("function", "{}"),
        "prop_interp": ("above τ", SHARE), "prop_significant": ("significant", SHARE),
        "untrained_prop_significant": ("untrained", SHARE), "effect": ("effect", "{:.1f}"),
        "untrained_effect": ("untrained", "{:.1f}"), "overall_acc": ("accuracy", SHARE),
        "overall_chance": ("chance", SHARE), "lift": ("lift", "{:.2f}"),
        "measured_auprc_described": ("AUPRC", "{:.3f}"), "measured_auprc_random": ("random", "{:.3f}"),
        "measured_auprc_best": ("best", "{:.3f}"), "stability": ("stable", SHARE),
        "stability_noise": ("stable, noise", SHARE), "agreement": ("agree", SHARE),
    }  # fmt: skip
    columns = {name: column for name, column in columns.items() if name in results.layers}
    rows = [[text(row[name], form) for name, (_, form) in columns.items()] for row in results.layers.to_dict("records")]
    caption = (
        "Every layer, concept set and score function. Significant: share of units at a false discovery rate of "
        f"{results.params.dissect.fdr:.0%} (for the cosines and rank_reorder by an asymptotic null); effect: median "
        "distance from the null in its standard deviations; AUPRC: held-out, against the measured concept, beside a "
        "random and the best possible description; stable: units that keep their description over resamples of the "
        "probe and under noise; agree: share of the other functions that say the same."
    )
    return Table(caption, [head for head, _ in columns.values()], rows, words=3)


def truth_table(results: Results) -> Table:
    """How often each function's description is the unit's best measured concept, or among the best three."""
    known = results.layers.dropna(subset=["truth_top1"])
    known = known[known["truth_units"] > 0]
    rows = []
    for (name, function), group in known.groupby(["concept_set", "similarity_fn"], sort=False):
        found = (_mean(group, column) for column in ("top1", "top1_random", "top3", "top3_random"))
        rows.append([name, function, f"{group['truth_units'].sum():,}", *(text(value, SHARE) for value in found)])
    caption = (
        "How often a description is the concept that the unit's activation follows most (highest correlation with the "
        "measured concept on validation images), or one of the three, over the units of all layers, beside a random "
        "description."
    )
    head = ["concepts", "function", "units", "best", "random", "best three", "random"]
    return Table(caption, head, rows, words=2)


def _mean(group: pd.DataFrame, column: str) -> float:
    """Mean over units of a share that is given by layer."""
    return float((group[f"truth_{column}"] * group["truth_units"]).sum() / group["truth_units"].sum())


def known_answer_table(results: Results) -> Table | None:
    """How many units of the output layer get their own class, for each function; None without such a layer."""
    known = results.metrics("held_out").get("output_layer")
    if known is None:
        return None
    rows = [
        [name, function, f"{count['own_class']} of {count['units']}"]
        for name, functions in known["concept_sets"].items()
        for function, count in functions.items()
    ]
    caption = (
        f"The known answer: units of the output layer ({known['layer']}), each of which stands for a class, that get "
        "their own class as name."
    )
    return Table(caption, ["concepts", "function", "own class"], rows, words=2)


def coherence_table(results: Results) -> Table:
    """Clarity, redundancy and polysemanticity by layer: they need no label and no concept."""
    chosen = tables.of_dissection(results.layers, results.params.edit.concept_set, results.params.edit.similarity_fn)
    names = [
        f"{prefix}{name}" for name in ("clarity", "redundancy", "polysemanticity") for prefix in ("", "untrained_")
    ]
    names = [name for name in names if name in chosen]
    rows = [[row["layer"], *(text(row[name], "{:.3f}") for name in names)] for row in chosen.to_dict("records")]
    caption = (
        "Without any concept: do a unit's top images look alike to CLIP (clarity, mean cosine of pairs), does another "
        "unit of the layer show the same (redundancy), and do they fall into two kinds (polysemanticity)?"
    )
    return Table(caption, ["layer", *(name.replace("_", ", ", 1) for name in names)], rows)


def held_out_text(held_out: Mapping[str, Any]) -> list[str]:
    """What the held-out evidence says, in words."""
    lines = [f"Descriptions held against the concepts measured on images not used before ({held_out['evidence']})."]
    if held_out["evidence"] == "truth":
        lines = ["The faces are drawn, so what each shows is known: descriptions can be checked against the truth."]
    return lines


def held_out_table(held_out: Mapping[str, Any]) -> Table:
    """Mean AUROC of units' activation for the concept they are named after, beside random names and no training."""
    rows = [
        [layer, network, text(row["described"], "{:.3f}"), text(row["random"], "{:.3f}"), f"{row['units']:,}"]
        for network in ("trained", "untrained")
        for layer, row in held_out.get(network, {}).items()
    ]
    caption = (
        "Mean AUROC of the units' activation for the concept that their description names, and for a random concept "
        "(0.5 is chance), in the network and in the same one before training."
    )
    return Table(caption, ["layer", "network", "own description", "random description", "units"], rows, words=2)
