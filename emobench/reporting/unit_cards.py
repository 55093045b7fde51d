"""The units that the page shows: of the layers that matter, those whose description held-out images bear out best."""

import base64
import io
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from emobench.reporting import page_tables as views
from emobench.reporting import tables
from emobench.reporting.packing import smaller
from emobench.reporting.results import Results

SHOWN_LAYERS = 3
EVIDENCE = {
    "measured_pearson": "r, the correlation of activation and description as measured on held-out images",
    "clip_pearson": "r, the correlation of activation and CLIP's score of the description on held-out images",
    "similarity": "sim., the similarity to their description",
}
"""What units are ranked by: the first that any unit has. The cards call it by what stands before the comma."""


def best_units(results: Results) -> tuple[str, pd.DataFrame]:
    """Of the edited layer and the two others with the most significant units, the units with the best evidence.

    Each description's best unit comes before a second one of any.

    Dissections are those that the edits follow: one concept set, one similarity function.

    Returns:
        The column of ``EVIDENCE`` that ranks them, and their rows: layers in forward order, best first.
    """
    edit = results.params.edit
    units = tables.of_dissection(results.units, edit.concept_set, edit.similarity_fn)
    units = units[~units["dead"].astype(bool)]
    evidence = next(name for name in EVIDENCE if name == "similarity" or _any(units, name))
    layers = tables.of_dissection(results.layers, edit.concept_set, edit.similarity_fn)
    significant = dict(zip(layers["layer"], layers["prop_significant"].fillna(0.0), strict=True))
    edited = tables.edited_layer(results)
    # Of layers with as many, the later ones: they are closer to the answer.
    others = [layer for layer in reversed(results.layer_names) if layer in significant and layer != edited]
    others = sorted(others, key=lambda layer: -significant[layer])[: SHOWN_LAYERS - 1]
    shown = [layer for layer in results.layer_names if layer in {edited, *others}]
    position = units["layer"].map({layer: place for place, layer in enumerate(shown)})
    rows = units.assign(_position=position).dropna(subset=["_position", evidence])
    rows = rows[np.isfinite(rows[evidence].astype(float))]
    rows = rows.sort_values([evidence, "unit"], ascending=[False, True])
    # The best unit of every description before a second one of any: six smiles would say little.
    rows = rows.assign(_again=rows.groupby(["layer", "description"]).cumcount())
    rows = rows.sort_values(["_position", "_again", evidence, "unit"], ascending=[True, True, False, True])
    return evidence, rows.groupby("layer", sort=False).head(results.params.report.top_units)


def unit_cards(results: Results, *, pixels: bool) -> dict[str, Any]:
    """The best units by layer, as text, with their top images in one strip each if ``pixels``.

    Returns:
        ``ranked_by`` in words, ``function``, ``concept_set``, ``known``: how annotations came about where those of the
        descriptions are shown, and ``layers``: layer to its cards.
    """
    evidence, rows = best_units(results)
    layers: dict[str, list[dict[str, Any]]] = {}
    known = pixels and _known(results, rows["description"])
    for row in rows.to_dict("records"):
        top = row["top_images"][: results.params.report.top_images]
        strip = image_strip(results.imageset.images[top]) if pixels else None
        numbers = {"label_accuracy": "{:.0%}", "chance": "{:.0%}", "q_value": "{:.2g}"}
        cells = {name: views.text(row.get(name), form) for name, form in numbers.items()}
        cells["evidence"] = f"{EVIDENCE[evidence].partition(',')[0]} {views.text(row[evidence], '{:.2f}')}"
        cells["shown"] = _shown(results.annotations[row["description"]], top) if known else ""
        named = {"unit": row["unit"], "description": row["description"], "strip": strip}
        layers.setdefault(row["layer"], []).append(named | cells)
    edit = results.params.edit
    return {
        "ranked_by": EVIDENCE[evidence], "function": edit.similarity_fn, "concept_set": edit.concept_set,
        "known": known, "layers": layers,
    }  # fmt: skip


def _known(results: Results, descriptions: pd.Series) -> str:
    """Drawn or measured, where the images' annotations have all that the cards say; else nothing."""
    values = results.annotations.reindex(columns=descriptions.unique())
    if values.isna().any(axis=None):
        return ""
    return "drawn" if results.params.annotate.source == "truth" else "measured"


def _shown(concept: pd.Series, images: np.ndarray) -> str:
    """How strongly a concept shows in some images, and in all of them on average."""
    return f"{' '.join(f'{value:.1f}' for value in concept.iloc[images])} (all {concept.mean():.1f})"


def image_strip(images: np.ndarray) -> str:
    """Images uint8 (n, height, width) or (n, height, width, 3) side by side, made smaller, as a WebP data address."""
    data = io.BytesIO()
    Image.fromarray(np.concatenate(list(smaller(images)), axis=1)).save(data, "WEBP", quality=80, method=4)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"


def _any(units: pd.DataFrame, column: str) -> bool:
    return column in units and bool(units[column].notna().any())
