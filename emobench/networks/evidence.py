"""Held-out evidence for descriptions: the units' activations against measured concepts, on images not used before."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emobench.functional.faithfulness import description_auroc
from emobench.networks.recording import load_activations
from emobench.vocabulary import CLASSES

LAYERS_TESTED = ("lin1", "lin2")


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
