"""Evidence for descriptions: the output layer's known answer, measured concepts on held-out images, and profiles."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from emobench.concepts.scores import ConceptScores
from emobench.cores import one_a_core
from emobench.dissection.network import Tables
from emobench.faces.imageset import ImageSet
from emobench.functional.faithfulness import description_auroc
from emobench.networks.activations import load_activations
from emobench.networks.card import NetworkCard
from emobench.settings.edit import Edit

LAYERS_TESTED = 2
"""How many layers before the output layer are held against the measured concepts."""
SHOWN = ("prop_interp", "prop_significant", "effect", "overall_acc", "overall_chance", "measured_auprc_described")


def evidence(
    units: Mapping[str, pd.DataFrame], imageset: ImageSet, annotations: pd.DataFrame, recordings: Mapping[str, Path],
    *, card: NetworkCard, sets: Mapping[str, Sequence[str]], edit: Edit, seed: int,
) -> dict[str, dict]:  # fmt: skip
    """The output layer's known answer and, where concepts are measured, the evidence on kept val and test images.

    Args:
        units: network -> unit table.
        imageset: the images.
        annotations: all images' measured concepts, a column a concept.
        recordings: network -> folder of its activations.
        card: of the network: its layers, and what its outputs stand for.
        sets: concept set -> its concepts.
        edit: whose concept set and function are held against the annotations.
        seed: of the random descriptions.

    Returns:
        ``output_layer``, where there is one among the recorded: see output_evidence; and for each network, see
        description_evidence.
    """
    recorded = [layer.name for layer in card.chosen]
    result: dict[str, dict] = {}
    if card.output_layer in recorded:
        result["output_layer"] = output_evidence(units["trained"], card, sets)
    if annotations.notna().to_numpy().any():
        rows = imageset.evaluation_rows()["val_test"]
        held = HeldOut(annotations, imageset.digest(), rows[imageset.kept[rows]])
        tested = [name for name in recorded if name != card.output_layer][-LAYERS_TESTED:]

        def of(network: str) -> dict[str, dict[str, float]]:
            table = units[network]
            chosen = table[(table.concept_set == edit.concept_set) & (table.similarity_fn == edit.similarity_fn)]
            return description_evidence(chosen, held, recordings[network], tested, seed=seed)

        result |= zip(units, one_a_core(of, list(units), torch.device("cpu")), strict=True)
    return result


def output_evidence(units: pd.DataFrame, card: NetworkCard, sets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The known answer: what the units of the output layer stand for, held against what they are described by.

    Args:
        units: the unit table of the trained network.
        card: of the network.
        sets: concept set -> its concepts; those that name an output count.

    Returns:
        ``layer``, and ``concept_sets``: set -> function -> see own_class_units.
    """
    outputs = card.outputs or card.classes
    last = units[units.layer == card.output_layer]
    naming = {name: concepts for name, concepts in sets.items() if set(concepts) & set(outputs)}
    answers: dict[str, dict] = {name: {} for name in naming}
    for (name, function), table in last.groupby(["concept_set", "similarity_fn"], sort=False):
        if name in naming:
            answers[name][function] = own_class_units(table, outputs, naming[name])
    return {"layer": card.output_layer, "concept_sets": answers}


def own_class_units(units: pd.DataFrame, outputs: Sequence[str], concepts: Collection[str]) -> dict[str, int]:
    """How many units of the output layer are described by what they stand for.

    Args:
        units: its rows of the unit table, of one concept set and one score function.
        outputs: what each unit stands for, in order.
        concepts: of the set; a unit that stands for something else can't be right and isn't counted.

    Returns:
        ``own_class`` and ``units``.
    """
    names = units["unit"].map(dict(enumerate(outputs)))
    counted = names.isin(list(concepts))
    return {"own_class": int((units["description"] == names)[counted].sum()), "units": int(counted.sum())}


@dataclass(frozen=True)
class HeldOut:
    """Images that named nothing: all images' annotations (NaN = not measured), the set's digest, the held-out rows."""

    annotations: pd.DataFrame
    images_digest: str
    rows: np.ndarray


def description_evidence(
    units: pd.DataFrame, held: HeldOut, folder: Path, layers: Sequence[str], *, seed: int
) -> dict[str, dict[str, float]]:
    """Mean AUROC of the units' activation for the measured concept they are labelled with, and for a random concept.

    Args:
        units: the unit table of one concept set and one score function.
        held: the held-out images and what was measured on them, a column a concept.
        folder: the recorded activations.
        layers: which are tested.
        seed: of the random descriptions.

    Returns:
        For each of the layers: ``described``, ``random``, ``units`` (how many could be measured); units whose
        concept was not measured on any image are left out.
    """
    measured = torch.from_numpy(held.annotations.iloc[held.rows].to_numpy(np.float32, copy=True))
    names = pd.Index(held.annotations.columns)
    generator = torch.Generator().manual_seed(seed)
    result = {}
    candidates = torch.from_numpy(names.get_indexer(units["description"].unique()))
    candidates = candidates[candidates >= 0]
    for layer in layers if len(candidates) else ():
        activations = load_activations(folder, layer, held.images_digest, held.rows)
        described = torch.from_numpy(names.get_indexer(units.loc[units.layer == layer, "description"]))
        activations, described = activations[:, described >= 0], described[described >= 0]
        random = candidates[torch.randint(len(candidates), described.shape, generator=generator)]
        scores = description_auroc(activations, measured, described)
        result[layer] = {
            "described": scores.nanmean().item(),
            "random": description_auroc(activations, measured, random).nanmean().item(),
            "units": int(scores.isfinite().sum()),
        }
    return result


def layer_metrics(layers: pd.DataFrame, function: str) -> dict[str, dict]:
    """The numbers of one function that DVC compares: concept set -> layer -> SHOWN."""
    chosen = layers[layers.similarity_fn == function]
    return {
        name: group.set_index("layer")[list(SHOWN)].to_dict("index") for name, group in chosen.groupby("concept_set")
    }


def profiles(tables: Tables, sets: Sequence[ConceptScores]) -> dict[str, np.ndarray]:
    """What the atlas shows of each unit, all layers in forward order.

    Returns:
        ``similarity_<set>`` float16 (units, concepts) with ``concepts_<set>``, and ``class_activation`` float32
        (units, classes): mean activation on kept val images of a class, standardised by the unit's mean and sd there.
    """
    arrays = {"class_activation": torch.cat(tables.class_means).numpy()}
    for scored in sets:
        arrays[f"similarity_{scored.name}"] = torch.cat(tables.similarity[scored.name]).half().numpy()
        arrays[f"concepts_{scored.name}"] = np.array(scored.concepts)
    return arrays
