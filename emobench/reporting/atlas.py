"""The unit atlas: one self-contained page with every unit of every layer, to be searched, sorted and read.

The page holds its data as typed arrays in base64, small enough for git, and draws only the rows that are seen. Numbers
in it are rounded to what is shown; the exact ones stand in units.parquet. Nothing made of pixels is in the page: the
top images, where they may be shown, are sheets of images that lie beside it (``packing.sheets``).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from emobench import __version__
from emobench.errors import UserError
from emobench.reporting import tables
from emobench.reporting.packing import coded, packed, sheets, stepped
from emobench.reporting.results import Results
from emobench.reporting.text import rendered
from emobench.reporting.words import pictures_of

COLUMNS = {
    "similarity": ("similarity", "2", "How well activation and concept go together, by the function named above."),
    "margin": ("margin", "2", "Similarity minus that of the runner-up."),
    "label_accuracy": ("accuracy", "share", "Share of the unit's top images whose class its description speaks for."),
    "chance": ("chance", "share", "The same share of images drawn at random."),
    "lift": ("lift", "2", "Accuracy over chance."),
    "null_p": ("p", "p", "How likely a similarity this high is for images that have nothing to do with the unit."),
    "q_value": ("q", "p", "p after the correction for all units of the layer (false discovery rate)."),
    "effect": ("effect", "2", "Similarity above the mean of its null, in that null's standard deviations."),
    "stability": (
        "stability",
        "share",
        "Share of resamples of the probe images in which the unit keeps its description.",
    ),
    "stability_noise": ("kept in noise", "flag", "Whether the unit keeps its description when the images are noisy."),
    "agreement": ("agreement", "share", "Share of the other similarity functions that give the same description."),
    "clarity": ("clarity", "2", "Mean cosine of the top images to CLIP: 1 if all show the same."),
    "polysemanticity": ("polyseman\u00adticity", "2", "How far apart the two halves of the top images are to CLIP."),
    "redundancy": (
        "redundancy",
        "2",
        "How alike the most similar other unit of the layer is, by the mean of its top images.",
    ),
}
"""Columns that are shown if the unit table has them: head, how numbers are written, meaning."""
SCORES = {"f1": "F1", "iou": "IoU", "pearson": "Pearson", "cosine": "cosine", "auprc": "AUPRC", "auroc": "AUROC"}
"""The held-out scores: ``clip_<score>`` and ``measured_<score>``."""
EVIDENCE = {
    "clip": ("CLIP", "activation against CLIP's score of the description"),
    "measured": ("measured", "activation against the description as measured on the images"),
}
EFFECTS = {
    "delta_accuracy": ("Δ accuracy", "points", "Change of accuracy in points when the unit is scaled to 0"),
    "delta_nll": ("Δ NLL", "5", "Change of the negative log-likelihood when the unit is scaled to 0"),
}
MOST_SIMILARITIES = 4_000_000
"""Similarities (units times concepts) of a concept set up to which the page holds them all."""
BY_UNIT = ("clarity", "polysemanticity", "redundancy", *EFFECTS)
"""Columns that are the same for every concept set."""


@dataclass(frozen=True)
class Shown:
    """What the atlas shows.

    Attributes:
        function: the similarity function.
        tau: the similarity from which on a unit counts as interpretable.
        level: a unit is significant if its q_value is below this.
        concept_sets: short names of the concept sets, the first one is shown first.
        layers: in forward order.
        classes: in the order of labels.
        speaks: concept -> the classes that it speaks for.
    """

    function: str
    tau: float
    level: float
    concept_sets: Sequence[str]
    layers: Sequence[str]
    classes: Sequence[str]
    speaks: Mapping[str, Sequence[str]]


def atlas_files(
    results: Results, profiles: Mapping[str, np.ndarray], effects: pd.DataFrame, *, pixels: bool
) -> dict[str, bytes]:
    """The atlas of a benchmark: what is to be written, by path below the folder that holds the page.

    Args:
        results: the benchmark.
        profiles: the arrays of profiles.npz.
        effects: the table unit_effects.
        pixels: whether the units' top images are among the files. With photos of people they must stay out of git.
    """
    params, function = results.params, results.params.edit.similarity_fn
    sheet_files: dict[str, bytes] = {}
    sets = [name for name, made_by in tables.dissections(results) if made_by == function]
    shown = Shown(
        function, params.dissect.tau, params.dissect.fdr, sets, results.layer_names, results.classes,
        results.vocabulary.every,
    )  # fmt: skip
    data = atlas_data(results.units, profiles, effects, shown)
    if pixels:
        rows = _in_order(results.units, sets[0], shown)["top_images"]
        top = np.stack(rows.to_list())[:, : params.report.top_images]
        data["images"], sheet_files = sheets(top, results.imageset.images, results.imageset.labels)
    about: dict[str, Any] = {"name": params.name, "pictures": pictures_of(results), "private": results.private}
    page = render_atlas(data, **about, limit=params.data.limit if results.limited else 0)
    return {"atlas.html": page.encode(), **sheet_files}


def atlas_data(
    units: pd.DataFrame, profiles: Mapping[str, np.ndarray], effects: pd.DataFrame, shown: Shown
) -> dict[str, Any]:
    """What the page needs to know, ready for JSON; the same bytes for the same tables.

    Args:
        units: a row a unit, concept set and similarity function. Columns that are not there are not shown.
        profiles: ``similarity_<concept_set>`` (units, concepts) by ``function``, ``concepts_<concept_set>`` (names)
            and ``class_activation`` (units, classes), units in order of layers, then unit. Each may be absent.
        effects: layer, unit, images, delta_accuracy, delta_nll of each unit that was scaled to 0.
        shown: which function, concept sets, layers, classes.

    Raises:
        UserError: the tables are not of the same units.
    """
    found = _by_set(units, shown)
    first = found[shown.concept_sets[0]]
    effects = effects[["layer", "unit", "images", *EFFECTS]]
    shared = first.merge(effects, on=["layer", "unit"], how="left", validate="1:1")
    columns = columns_of(shared)
    names = [column["key"] for column in columns]
    sets = [_dissection(name, table, profiles, names, shown.level) for name, table in found.items()]
    named = {word for table in found.values() for word in (*table["description"], *table["runner_up"])}
    named.update(concept for part in sets if "profile" in part for concept in part["profile"]["concepts"])
    data = {name: getattr(shown, name) for name in ("function", "tau", "level")}
    data |= {name: list(getattr(shown, name)) for name in ("layers", "classes")}
    data |= {
        "layer": packed(first["layer"].map(list(shown.layers).index)),
        "unit": coded(first["unit"].to_numpy(), 16),
        "columns": columns,
        "first": _first(names),
        "speaks": {name: list(shown.speaks.get(name, ())) for name in sorted(named)},
        "shared": {key: packed(shared[key], wide=True) for key in BY_UNIT if key in names}
        | {"dead": packed(first["dead"].astype(bool))},
        "sets": sets,
        "effect_images": int(effects["images"].max()) if len(effects) else 0,
    }
    if "class_activation" in profiles:
        _same_length(profiles["class_activation"], first)
        data["activation"] = packed(profiles["class_activation"].ravel())
    return data


def _by_set(units: pd.DataFrame, shown: Shown) -> dict[str, pd.DataFrame]:
    """The units of each concept set, all in one order."""
    found = {name: _in_order(units, name, shown) for name in shown.concept_sets}
    first = found[shown.concept_sets[0]]
    for table in found.values():
        if not table[["layer", "unit"]].equals(first[["layer", "unit"]]):
            raise UserError("units.parquet holds other units for each concept set; run dvc repro dissect")
    return found


def columns_of(table: pd.DataFrame) -> list[dict[str, str]]:
    """The columns of numbers that the table has, in the order in which they are shown."""
    known = dict(COLUMNS)
    for kind, (source, meaning) in EVIDENCE.items():
        for score, head in SCORES.items():
            known[f"{kind}_{score}"] = f"{source}: {head}", "2", f"{head} on images not used to describe: {meaning}."
    scaled = f" ({table['images'].max():.0f} val images)." if table["images"].notna().any() else "."
    known |= {key: (head, form, meaning + scaled) for key, (head, form, meaning) in EFFECTS.items()}
    columns = [
        {"key": key, "head": head, "form": form, "meaning": meaning}
        for key, (head, form, meaning) in known.items()
        if key in table and table[key].notna().any()
    ]
    # Stable: what the page is sorted by at first stands first.
    return sorted(columns, key=lambda column: column["key"] != _first([one["key"] for one in columns]))


def _first(names: Sequence[str]) -> str:
    """The column that the page is sorted by at first: held-out evidence, as measured if it was."""
    return next((key for key in ("measured_auprc", "clip_auprc") if key in names), "similarity")


def render_atlas(data: Mapping[str, Any], *, name: str, pictures: str, private: bool, limit: int = 0) -> str:
    """The whole page as HTML, without a network and without pixels.

    Args:
        data: of ``atlas_data``, with ``images`` of ``packing.sheets`` if the sheets lie beside the page.
        name: of the benchmark.
        pictures: what the images are, in words.
        private: whether they show people.
        limit: of the smoke mode, 0 outside of it.
    """
    # "<" can't end the script element that holds the data when it is written as an escape of JSON.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    about = {"name": name, "version": __version__, "pictures": pictures, "private": private, "limit": limit}
    return rendered("atlas.html", **about, data=data, text=text)


def _in_order(units: pd.DataFrame, concept_set: str, shown: Shown) -> pd.DataFrame:
    """One dissection, units in order of layers, then unit."""
    table = units[(units["concept_set"] == concept_set) & (units["similarity_fn"] == shown.function)]
    position = table["layer"].map(list(shown.layers).index)
    return table.assign(_position=position).sort_values(["_position", "unit"], ignore_index=True)


def _dissection(
    name: str, table: pd.DataFrame, profiles: Mapping[str, np.ndarray], names: Sequence[str], level: float
) -> dict[str, Any]:
    """What differs by concept set: words, numbers, and the similarity to every concept."""
    own = [key for key in names if key in table and key not in BY_UNIT]
    narrow = re.compile(f"({'|'.join(EVIDENCE)})_")
    result = {
        "name": name,
        "words": {key: packed(table[key].fillna("")) for key in ("description", "runner_up")},
        "columns": {key: packed(table[key], wide=not narrow.match(key)) for key in own},
    }
    if "q_value" in names:
        result["significant"] = packed(table["q_value"] < level)
    # A long list of concepts would make the page too heavy; the numbers stand in profiles.npz.
    if f"similarity_{name}" in profiles and profiles[f"similarity_{name}"].size <= MOST_SIMILARITIES:
        similarity = profiles[f"similarity_{name}"].astype(np.float64)
        _same_length(similarity, table)
        result["profile"] = {"concepts": [str(item) for item in profiles[f"concepts_{name}"]], **stepped(similarity)}
    return result


def _same_length(profile: np.ndarray, units: pd.DataFrame) -> None:
    if len(profile) != len(units):
        raise UserError(f"profiles.npz holds {len(profile)} units, units.parquet {len(units)}; run dvc repro dissect")
