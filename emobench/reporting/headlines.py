"""A benchmark in a dozen numbers: what ``dvc metrics show`` and ``dvc exp show`` list."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from emobench.reporting import tables
from emobench.reporting.results import Results

EVIDENCE = ("measured", "clip")
"""What a description is held against: annotations, or CLIP's own scores where nothing was measured."""


def headlines(results: Results) -> dict[str, Any]:
    """The numbers of metrics.json, short names so that a screen holds them; what could not be measured is NaN.

    ``accuracy`` on test; ``chosen`` and ``paper``: what the edit best on val and the published one gain on test, in
    points (hundredths), with the p-values corrected for all edits tested; how many judged edits ``improve``, ``harm``
    or are ``open``; of the edited layer's units the shares with a significant description, ``described``, and of the
    untrained twin, ``untrained``; their mean held-out ``auprc`` and that of ``random`` descriptions; ``clip``, the mean
    AUROC of the image-text model on the concepts.
    """
    found: dict[str, Any] = {"accuracy": results.config(results.baseline_id)["accuracy"]}
    for name, config_id in {"chosen": results.chosen_id, "paper": results.paper_id}.items():
        found |= _gain(results, name, config_id)
    # An edit that two rules chose has one verdict.
    judged = results.verdicts[results.verdicts["images"] == "test"].drop_duplicates("config_id")["verdict"]
    found |= {"improve": int((judged == "improves").sum()), "harm": int((judged == "harms").sum())}
    found["open"] = len(judged) - found["improve"] - found["harm"]
    found |= _readable(_dissection(results))
    return found | {"clip": results.metrics("clip").get("mean_auroc", float("nan"))}


def _gain(results: Results, name: str, config_id: str | None) -> dict[str, float]:
    rows = results.verdicts[(results.verdicts["config_id"] == config_id) & (results.verdicts["images"] == "test")]
    if rows.empty:
        return {name: float("nan"), f"{name}_p": float("nan")}
    return {name: 100 * float(rows["delta_accuracy"].iloc[0]), f"{name}_p": float(rows["holm_p"].iloc[0])}


def _dissection(results: Results) -> Mapping[str, Any]:
    """The row of the edited layer, by the dissection that the edits follow."""
    edit = results.params.edit
    rows = tables.of_dissection(results.layers, edit.concept_set, edit.similarity_fn)
    return rows[rows["layer"] == tables.edited_layer(results)].iloc[0].to_dict()


def _readable(layer: Mapping[str, Any]) -> dict[str, Any]:
    source = next((name for name in EVIDENCE if pd.notna(layer.get(f"{name}_auprc_described"))), EVIDENCE[0])
    keys = {"described": "prop_significant", "untrained": "untrained_prop_significant"}
    keys |= {"auprc": f"{source}_auprc_described", "random": f"{source}_auprc_random"}
    return {name: layer.get(key, float("nan")) for name, key in keys.items()}
