"""Evidence for descriptions: the last layer's known answer, measured concepts on held-out images, and the profiles."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emobench.concepts.scores import ConceptScores
from emobench.dissection.network import Tables
from emobench.faces.imageset import ImageSet
from emobench.functional.faithfulness import description_auroc
from emobench.networks.recording import load_activations
from emobench.settings.edit import Edit
from emobench.vocabulary import CLASSES

LAYERS_TESTED = ("lin1", "lin2")
SHOWN = ("prop_interp", "prop_significant", "effect", "overall_acc", "overall_chance", "measured_auprc_described")


def evidence(
    units: Mapping[str, pd.DataFrame], imageset: ImageSet, annotations: pd.DataFrame, recordings: Mapping[str, Path],
    *, edit: Edit, seed: int,
) -> dict[str, dict]:  # fmt: skip
    """The known answer (lin3) and, where concepts are measured, the evidence on kept val and test images.

    Args:
        units: network -> unit table.
        imageset: the images.
        annotations: all images' measured concepts, a column a concept.
        recordings: network -> folder of its activations.
        edit: whose concept set and function are held against the annotations.
        seed: of the random descriptions.

    Returns:
        ``lin3``: concept set -> function -> see own_class_units; and for each network, see description_evidence.
    """
    trained = units["trained"]
    sets = trained.loc[trained.description.isin(CLASSES), "concept_set"].unique()
    named = trained[trained.concept_set.isin(sets)].groupby(["concept_set", "similarity_fn"], sort=False)
    proof: dict[str, dict] = {"lin3": {name: {} for name in sets}}
    for (name, function), table in named:
        proof["lin3"][name][function] = own_class_units(table)
    if annotations.notna().to_numpy().any():
        rows = imageset.evaluation_rows()["val_test"]
        rows, digest = rows[imageset.kept[rows]], imageset.digest()
        for network, table in units.items():
            chosen = table[(table.concept_set == edit.concept_set) & (table.similarity_fn == edit.similarity_fn)]
            proof[network] = description_evidence(chosen, annotations, recordings[network], digest, rows, seed=seed)
    return proof


def own_class_units(units: pd.DataFrame) -> dict[str, int]:
    """The known answer: how many of lin3's units are described by their own class.

    Args:
        units: the unit table of one concept set that holds the class names, and of one score function.

    Returns:
        ``own_class`` and ``units``.
    """
    last = units[units.layer == "lin3"]
    own = last["description"] == last["unit"].map(dict(enumerate(CLASSES)))
    return {"own_class": int(own.sum()), "units": len(last)}


def description_evidence(
    units: pd.DataFrame, annotations: pd.DataFrame, folder: Path, images_digest: str, rows: np.ndarray, *, seed: int
) -> dict[str, dict[str, float]]:
    """Mean AUROC of the units' activation for the measured concept they are labelled with, and for a random concept.

    Args:
        units: the unit table of one concept set and one score function.
        annotations: all images' measured concepts, a column a concept, NaN = not measured.
        folder: the recorded activations.
        images_digest: of the image set in use.
        rows: held-out images.
        seed: of the random descriptions.

    Returns:
        For each of lin1 and lin2: ``described``, ``random``, ``units`` (how many could be measured); units whose
        concept was not measured on any image are left out.
    """
    measured = torch.from_numpy(annotations.iloc[rows].to_numpy(np.float32, copy=True))
    names = pd.Index(annotations.columns)
    generator = torch.Generator().manual_seed(seed)
    result = {}
    candidates = torch.from_numpy(names.get_indexer(units["description"].unique()))
    candidates = candidates[candidates >= 0]
    for layer in LAYERS_TESTED if len(candidates) else ():
        activations = load_activations(folder, layer, images_digest, rows)
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
    for one in sets:
        arrays[f"similarity_{one.name}"] = torch.cat(tables.similarity[one.name]).half().numpy()
        arrays[f"concepts_{one.name}"] = np.array(one.concepts)
    return arrays
