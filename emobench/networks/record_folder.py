"""Recording a network into a folder: an array of activations a layer, a row an image, in one pass over pictures."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from emobench.files import new_array, replacing, write_array, write_json
from emobench.networks.activations import ROWS
from emobench.networks.network import Network
from emobench.networks.recorder import Recorder
from emobench.progress import progress
from emobench.stored import array_digest


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
    recorder = Recorder(network, list(outputs), network.inputs(images[rows[:2]]), pool, tokens)
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
        arrays, seen, digests = {}, np.arange(len(images)) if rows is None else rows, {}
        if rows is not None:
            write_array(temporary / ROWS, rows)
            digests[ROWS] = array_digest(rows)
        for layer in layers:
            shape = (len(seen), network.card.layer(layer).units)
            arrays[layer] = new_array(temporary / f"{layer}.npy", shape)
            stack.callback(arrays[layer].flush)
        if arrays:
            record_arrays(network, images, seen, arrays, **options)
        digests |= {layer: array_digest(array, layer) for layer, array in arrays.items()}
        write_json(temporary / "source.json", {**source, "digests": digests, "torch": torch.__version__})
