"""Recorded activations on disk: ``<layer>.npy`` float32 (images, units), which the stage record wrote."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emobench.errors import UserError
from emobench.stored import check_digest, existing, read_array, read_json, reading, unusable

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
        UserError: a file is missing or not as it was written, of another image set, without one of the images, or
            has values that are not finite.
    """
    path = existing(folder / f"{layer}.npy", "record")
    source = _source(folder)
    if source["images_digest"] != images_digest:
        raise UserError(f"{path} belongs to another image set; run the stage 'record' again (dvc repro record)")
    places, count = _places(folder, rows, source)
    digest = source.get("digests", {}).get(layer)
    stored = read_array(path, "record", dtype="float32" if digest else "floating", shape=(count, None))
    if len(places) and places.max() >= len(stored):
        raise unusable(path, f"it has {len(stored)} rows; image {rows.max()} is beyond them", "record")
    activations = torch.from_numpy(stored[places])
    if not torch.isfinite(activations).all():
        raise UserError(f"{path} has NaN or infinite activations; the network's weights are broken")
    with reading(path, "record"):
        check_digest(path, digest, layer, "source.json")
    return activations


def check_network(folder: Path, weights_digest: str) -> None:
    """Expects a recording of these weights; the untrained twin's, or one that doesn't tell, may be of any.

    Raises:
        UserError: it is of others.
    """
    recorded = _source(folder).get("weights_digest", "")
    # The untrained twin's has words instead: its weights depend on the seed alone.
    if re.fullmatch("[0-9a-f]{64}", recorded) and recorded != weights_digest:
        raise UserError(
            f"{folder / 'source.json'}: another network was recorded than network.json tells of; run the stage "
            "'record' again (dvc repro record)"
        )


def _source(folder: Path) -> Mapping[str, Any]:
    """What a recording is of: digests of the images and the weights and, by layer, of the arrays."""
    source = read_json(folder / "source.json", "record")
    texts = [source.get("images_digest"), *(source[name] for name in ("weights_digest",) if name in source)]
    digests = source.get("digests", {})
    if not all(isinstance(text, str) for text in texts) or not isinstance(digests, dict):
        raise unusable(folder / "source.json", "it does not tell what was recorded", "record")
    return source


def _places(folder: Path, rows: np.ndarray, source: Mapping[str, Any]) -> tuple[np.ndarray, int | None]:
    """Where the images ``rows`` stand in the arrays of ``folder``, and how many rows those have where that is known.

    Raises:
        UserError: one of them wasn't recorded.
    """
    if not (folder / ROWS).is_file():
        if source.get("digests", {}).get(ROWS):
            raise UserError(f"no {folder / ROWS}; run the stage 'record' again (dvc repro record)")
        return rows, None
    digest = source.get("digests", {}).get(ROWS)
    there = read_array(
        folder / ROWS, "record", dtype="int64", shape=(None,), digest=digest, note="source.json", mapped=False
    )
    if (np.diff(there) <= 0).any():
        raise unusable(folder / ROWS, "its rows do not ascend", "record")
    places = np.searchsorted(there, rows)
    missing = rows[~np.isin(rows, there)]
    if len(missing):
        raise UserError(
            f"{folder} lacks {len(missing)} of the {len(rows)} images wanted (the first is image {missing[0]}); it has "
            f"{len(there)}: run the stage 'record' again (dvc repro record)"
        )
    return places, len(there)
