"""Stage record: one pass over all images, every layer's units pooled to one number an image."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from emobench.faces.imageset import ImageSet, load_imageset
from emobench.files import file_digest, replacing, write_json
from emobench.layout import Layout
from emobench.networks.loading import LoadedNetwork, load_network, pick_device
from emobench.networks.recording import record_arrays
from emobench.networks.training import new_network
from emobench.networks.vggnet import HIDDEN
from emobench.params import Params


def run(params: Params, layout: Layout) -> None:
    """Writes <layer>.npy float32 (images, units) for the baseline and, if wanted, for an untrained twin."""
    imageset = load_imageset(layout.data)
    weights = layout.models / "baseline.safetensors"
    network = load_network(weights)
    source = {"images_digest": imageset.digest(), "weights_digest": file_digest(weights), "pool": params.record.pool}
    _record(params, network, imageset, layout.artifacts / "activations", source)
    if params.record.untrained:
        width = len(network.model.lin1.bias) / HIDDEN
        twin = new_network(width, 0.0, params.seed + 1).eval()
        network = LoadedNetwork(twin, network.transform, network.class_names, network.layers)
    else:  # DVC wants the folder all the same.
        network = replace(network, layers=())
    other = source | {"weights_digest": f"untrained, seed {params.seed + 1}"}
    _record(params, network, imageset, layout.artifacts / "activations_untrained", other)


def _record(params: Params, network: LoadedNetwork, imageset: ImageSet, folder: Path, source: dict[str, str]) -> None:
    """Records one network into a folder that appears only when it is complete."""
    device = pick_device(params.device)
    with replacing(folder) as temporary, ExitStack() as stack:
        temporary.mkdir()
        arrays = {}
        for layer in network.layers:
            units = getattr(network.model, layer).weight.shape[0]
            shape = (len(imageset.images), units)
            arrays[layer] = np.lib.format.open_memmap(temporary / f"{layer}.npy", "w+", np.float32, shape)
            stack.callback(arrays[layer].flush)
        if arrays:
            model = network.model.to(device)
            options = {"pool": params.record.pool, "batch_size": params.record.batch_size, "device": device}
            record_arrays(model, network.transform, imageset.images, arrays, **options)
        write_json(temporary / "source.json", source | {"torch": torch.__version__})
