"""Dissecting recorded networks layer by layer, one layer's activations in memory at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from emobench.faces.imageset import ImageSet
from emobench.functional.dissection import ConceptScores, dissect_layer, similarity_function
from emobench.functional.similarity import top_images
from emobench.networks.evidence import description_evidence, own_class_units
from emobench.networks.recording import load_activations
from emobench.params import LAYERS, Dissect
from emobench.progress import progress
from emobench.vocabulary import CLASSES

KEY = ["layer", "concept_set", "similarity_fn"]


def dissect_networks(
    dissect: Dissect, imageset: ImageSet, sets: Sequence[ConceptScores], recordings: Mapping[str, Path], seed: int
) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Describes every unit of every layer of some networks, by every concept set and score function.

    Args:
        dissect: score functions and their parameters, the probe, tau.
        imageset: the images.
        sets: the concept sets, scored on the probe.
        recordings: network -> folder of its activations.
        seed: of rank_reorder's random orders.

    Returns:
        For each network its unit table (key: layer, unit, concept_set, similarity_fn) and its layer table.
    """
    digest, probe = imageset.digest(), imageset.probe_rows(dissect.probe)
    labels = torch.from_numpy(imageset.labels[probe])
    functions = {name: similarity_function(name, dissect, seed) for name in dissect.similarity_fns}
    units: dict[str, list] = {network: [] for network in recordings}
    rows: dict[str, list] = {network: [] for network in recordings}
    for layer, network in progress([(layer, network) for layer in LAYERS for network in recordings], desc="dissect"):
        activations = load_activations(recordings[network], layer, digest, probe)
        top = top_images(activations, dissect.top_images)
        shown = probe[top.T.numpy()].tolist()
        for concepts in sets:
            for name, function in functions.items():
                key = {"layer": layer, "concept_set": concepts.name, "similarity_fn": name}
                columns, row = dissect_layer(activations, labels, concepts, function, top=top, tau=dissect.tau)
                units[network].append(pd.DataFrame({**columns, "top_images": shown}).assign(**key))
                rows[network].append(key | row)
    tables = {network: pd.concat(parts, ignore_index=True) for network, parts in units.items()}
    return tables, {network: pd.DataFrame(parts) for network, parts in rows.items()}


def side_by_side(layers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The trained network's layer table, with the untrained one's columns beside it where there is one."""
    if "untrained" not in layers:
        return layers["trained"]
    control = layers["untrained"].drop(columns="num_units").set_index(KEY).add_prefix("untrained_")
    return layers["trained"].join(control, on=KEY)


def evidence(
    units: Mapping[str, pd.DataFrame], imageset: ImageSet, annotations: pd.DataFrame, recordings: Mapping[str, Path],
    *, concept_set: str, seed: int,
) -> dict[str, dict]:  # fmt: skip
    """The known answer (lin3) and, where concepts are measured, the evidence on kept val and test images.

    Args:
        units: network -> unit table of one score function.
        imageset: the images.
        annotations: all images' measured concepts, a column a concept.
        recordings: network -> folder of its activations.
        concept_set: whose descriptions are held against the annotations.
        seed: of the random descriptions.

    Returns:
        ``lin3``: concept set -> see own_class_units; and for each network, see description_evidence.
    """
    trained = units["trained"]
    sets = trained.loc[trained.description.isin(CLASSES), "concept_set"].unique()
    proof: dict[str, dict] = {"lin3": {name: own_class_units(trained[trained.concept_set == name]) for name in sets}}
    if annotations.notna().to_numpy().any():
        rows = imageset.evaluation_rows()["val_test"]
        rows, digest = rows[imageset.kept[rows]], imageset.digest()
        for name, table in units.items():
            chosen = table[table.concept_set == concept_set]
            proof[name] = description_evidence(chosen, annotations, recordings[name], digest, rows, seed=seed)
    return proof
