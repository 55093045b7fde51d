"""Recording units: forward hooks that live in a ``with`` block and are gone after it, also after an exception."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from emobench.errors import UserError, unknown_name
from emobench.files import replacing, write_array, write_json
from emobench.functional.pooling import pool as pool_units
from emobench.progress import progress

ROWS = "rows.npy"
"""Row numbers (ascending) of the images that a folder's recording is of; without this file it is of all images."""


class Recording:
    """What the hooks saw: ``recording[layer]`` is (images, units), all batches since the start or the last clear."""

    def __init__(self, layers: Sequence[str]) -> None:
        self._batches: dict[str, list[torch.Tensor]] = {layer: [] for layer in layers}

    def __getitem__(self, layer: str) -> torch.Tensor:
        if layer not in self._batches:
            raise unknown_name("recorded layer", layer, self._batches)
        if not self._batches[layer]:
            raise RuntimeError(f"layer {layer!r} has not run since the recording began")
        return torch.cat(self._batches[layer])

    def add(self, layer: str, units: torch.Tensor) -> None:
        """Appends one batch of pooled units (images, units)."""
        self._batches[layer].append(units)

    def clear(self) -> None:
        """Forgets all batches, so that memory stays that of one."""
        for batches in self._batches.values():
            batches.clear()


@contextmanager
def recorded(model: nn.Module, layers: Sequence[str], pool: str = "avg") -> Iterator[Recording]:
    """Records the outputs of ``layers`` (before BatchNorm and ReLU), pooled over space, while the block runs.

    Args:
        model: a module whose submodules are named by ``layers``.
        layers: names of submodules.
        pool: ``avg`` or ``max`` over space; linear layers are taken as they are.

    Raises:
        UserError: the model has no such layer.
    """
    modules = dict(model.named_modules())
    recording = Recording(layers)
    handles = []
    try:
        for layer in layers:
            if layer not in modules:
                raise unknown_name("layer", layer, [name for name, _ in model.named_children()])
            handles.append(modules[layer].register_forward_hook(_saver(recording, layer, pool)))
        yield recording
    finally:
        for handle in handles:
            handle.remove()


def _saver(recording: Recording, layer: str, pool: str) -> Callable[[nn.Module, tuple, torch.Tensor], None]:
    """A hook that files a layer's pooled output."""

    def save(_module: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
        recording.add(layer, pool_units(output.detach(), pool))

    return save


@torch.inference_mode()
def record_arrays(
    model: nn.Module,
    transform: Callable[[np.ndarray], torch.Tensor],
    images: np.ndarray,
    outputs: dict[str, np.ndarray],
    *,
    pool: str,
    batch_size: int,
    device: str = "cpu",
) -> None:
    """Runs all images once and fills one array a layer.

    Args:
        model: in evaluation mode.
        transform: pictures uint8 (n, 48, 48) to the model's input.
        images: uint8 (images, 48, 48); may be memory-mapped.
        outputs: layer to a float32 array (images, units), written in place; may be memory-mapped.
        pool: ``avg`` or ``max`` over space.
        batch_size: images a forward pass.
        device: where the model is.
    """
    model = model.to(memory_format=torch.channels_last)
    with recorded(model, list(outputs), pool) as recording:
        for start in progress(range(0, len(images), batch_size), desc="record", unit="batch"):
            batch = transform(images[start : start + batch_size])
            model(batch.to(device, memory_format=torch.channels_last))
            for layer, array in outputs.items():
                array[start : start + len(batch)] = recording[layer].float().cpu().numpy()
            recording.clear()


def record_folder(
    folder: Path,
    model: nn.Module,
    transform: Callable[[np.ndarray], torch.Tensor],
    images: np.ndarray,
    layers: Sequence[str],
    source: Mapping[str, str],
    *,
    rows: np.ndarray | None = None,
    **options: Any,
) -> None:
    """Records ``layers`` into ``folder``, which appears only when it is complete.

    Args:
        folder: gets ``<layer>.npy`` float32 (images, units) and ``source.json``; with ``rows`` also ``rows.npy``.
        model: in evaluation mode.
        transform: as in ``record_arrays``.
        images: uint8 (images, 48, 48).
        layers: names of submodules; without any, DVC gets the folder that it waits for all the same.
        source: what the recording is of, for ``source.json``.
        rows: row numbers, ascending, of the only images to record; row i of the arrays is then image rows[i].
        **options: pool, batch_size and device, as in ``record_arrays``.
    """
    with replacing(folder) as temporary, ExitStack() as stack:
        temporary.mkdir()
        arrays = {}
        if rows is not None:
            write_array(temporary / ROWS, rows)
            images = images[rows]
        for layer in layers:
            shape = (len(images), len(model.get_submodule(layer).weight))
            arrays[layer] = np.lib.format.open_memmap(temporary / f"{layer}.npy", "w+", np.float32, shape)
            stack.callback(arrays[layer].flush)
        if arrays:
            record_arrays(model, transform, images, arrays, **options)
        write_json(temporary / "source.json", {**source, "torch": torch.__version__})


def noisy(
    transform: Callable[[np.ndarray], torch.Tensor], sigma: float, seed: int
) -> Callable[[np.ndarray], torch.Tensor]:
    """The transform with Gaussian noise of standard deviation ``sigma`` added to inputs in [0, 1], seeded."""
    generator = torch.Generator().manual_seed(seed)

    def call(images: np.ndarray) -> torch.Tensor:
        inputs = transform(images)
        return inputs + sigma * torch.randn(inputs.shape, generator=generator)

    return call


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
