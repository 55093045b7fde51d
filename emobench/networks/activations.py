"""Recorded activations on disk: one array a layer, a row an image, written in one pass over the pictures."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from emobench.errors import UserError
from emobench.files import replacing, write_array, write_json
from emobench.networks.network import Network
from emobench.networks.recorder import Recorder
from emobench.progress import progress

ROWS = "rows.npy"
"""Row numbers (ascending) of the images that a folder's recording is of; without this file it is of all images."""


@torch.no_grad()
def record_arrays(
    network: Network, images: np.ndarray, rows: np.ndarray, outputs: Mapping[str, np.ndarray],
    *, pool: str, tokens: str, batch_size: int, noise: float = 0.0, seed: int = 0,
) -> None:  # fmt: skip
    """Runs some images once and fills one array a layer.

    Args:
        network: what is recorded.
        images: uint8 (n, height, width) or (n, height, width, 3); may be memory-mapped.
        rows: row numbers of the images, ascending.
        outputs: layer to a float32 array (rows, units), written in place; may be memory-mapped.
        pool: ``avg`` or ``max`` over space.
        tokens: ``mean`` or ``cls``.
        batch_size: images a forward pass.
        noise: standard deviation of the Gaussian noise that is added to the inputs.
        seed: of the noise.
    """
    if not len(rows):
        return
    network.channels_last()
    generator = torch.Generator().manual_seed(seed)
    recorder = Recorder(network.model, list(outputs), network.inputs(images[rows[:2]]), pool, tokens)
    for start in progress(range(0, len(rows), batch_size), desc="record", unit="batch"):
        inputs = network.inputs(images[rows[start : start + batch_size]])
        if noise:
            inputs = inputs + noise * torch.randn(inputs.shape, generator=generator).to(inputs.device)
        _, units = recorder(inputs.contiguous(memory_format=torch.channels_last))
        for layer, array in outputs.items():
            array[start : start + len(inputs)] = units[layer].float().cpu().numpy()


def record_folder(
    folder: Path,
    network: Network,
    images: np.ndarray,
    layers: Sequence[str],
    source: Mapping[str, str],
    *,
    rows: np.ndarray | None = None,
    **options,
) -> None:
    """Records ``layers`` into ``folder``, which appears only when it is complete.

    Args:
        folder: gets ``<layer>.npy`` float32 (images, units) and ``source.json``; with ``rows`` also ``rows.npy``.
        network: what is recorded.
        images: as in ``record_arrays``.
        layers: names; without any, DVC gets the folder that it waits for all the same.
        source: what the recording is of, for ``source.json``.
        rows: row numbers, ascending, of the only images to record; row i of the arrays is then image rows[i].
        **options: as in ``record_arrays``.
    """
    with replacing(folder) as temporary, ExitStack() as stack:
        temporary.mkdir()
        arrays, seen = {}, np.arange(len(images)) if rows is None else rows
        if rows is not None:
            write_array(temporary / ROWS, rows)
        for layer in layers:
            shape = (len(seen), network.card.layer(layer).units)
            arrays[layer] = np.lib.format.open_memmap(temporary / f"{layer}.npy", "w+", np.float32, shape)
            stack.callback(arrays[layer].flush)
        if arrays:
            record_arrays(network, images, seen, arrays, **options)
        write_json(temporary / "source.json", {**source, "torch": torch.__version__})


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
