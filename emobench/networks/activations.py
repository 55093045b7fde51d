"""Recorded activations on disk: ``<layer>.npy`` float32 (images, units), which the stage record wrote."""

import json
from pathlib import Path

import numpy as np
import torch

from emobench.errors import UserError

ROWS = "rows.npy"
"""Row numbers (ascending) of the images that a folder's recording is of; without this file it is of all images."""


def load_activations(folder: Path, layer: str, images_digest: str, rows: np.ndarray) -> torch.Tensor:
    """Reads recorded activations of some images.

    Args:
        folder: where ``<layer>.npy`` float32 (images, units) and ``source.json`` lie.
        layer: the layer's name.
        images_digest: of the image set in use; the recording must be of the same.
        rows: row numbers of the images wanted.

    Returns:
        (rows, units) float32.

    Raises:
        UserError: a file is missing, of another image set or without one of the images, or has values that are not
            finite.
    """
    path, source = folder / f"{layer}.npy", folder / "source.json"
    for needed in (path, source):
        if not needed.is_file():
            raise UserError(f"no {needed}; run the stage 'record' first (dvc repro record)")
    if json.loads(source.read_text())["images_digest"] != images_digest:
        raise UserError(f"{path} belongs to another image set; run the stage 'record' again (dvc repro record)")
    stored = np.load(path, mmap_mode="r", allow_pickle=False)
    activations = torch.from_numpy(stored[_places(folder, rows)])
    if not torch.isfinite(activations).all():
        raise UserError(f"{path} has NaN or infinite activations; the network's weights are broken")
    return activations


def _places(folder: Path, rows: np.ndarray) -> np.ndarray:
    """Where the images ``rows`` stand in the arrays of ``folder``.

    Raises:
        UserError: one of them wasn't recorded.
    """
    if not (folder / ROWS).is_file():
        return rows
    there = np.load(folder / ROWS, allow_pickle=False)
    places = np.searchsorted(there, rows)
    missing = rows[~np.isin(rows, there)]
    if len(missing):
        raise UserError(
            f"{folder} lacks {len(missing)} of the {len(rows)} images wanted (the first is image {missing[0]}); it has "
            f"{len(there)}: run the stage 'record' again (dvc repro record)"
        )
    return places
