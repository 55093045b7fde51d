"""Stage record: one pass over all images, every layer's units pooled to one number an image; and two controls."""

import numpy as np

from emobench.device import pick_device
from emobench.faces.imageset import load_imageset
from emobench.files import file_digest
from emobench.layout import Layout
from emobench.networks.loading import load_network
from emobench.networks.recording import noisy, record_folder
from emobench.networks.training import new_network
from emobench.networks.vggnet import HIDDEN
from emobench.params import Params


def run(params: Params, layout: Layout) -> None:
    """Writes <layer>.npy float32 (images, units) for the baseline and, if wanted, its controls.

    These are a twin of the same shape with random weights, and the baseline itself on images with noise. They are
    recorded on the images that the stage dissect reads of them: the probe, for the twin also the held-out images.
    """
    imageset, device, wanted = load_imageset(layout.data), pick_device(params.device), params.record
    weights = layout.models / "baseline.safetensors"
    network = load_network(weights, device=device)
    twin = new_network(len(network.model.lin1.bias) / HIDDEN, 0.0, params.seed + 1).eval().to(device)
    source = {"images_digest": imageset.digest(), "weights_digest": file_digest(weights), "pool": wanted.pool}
    untrained = source | {"weights_digest": f"untrained, seed {params.seed + 1}"}
    disturbed = source | {"noise": str(wanted.noise)}
    transform, with_noise = network.transform, noisy(network.transform, wanted.noise, params.seed)
    options = {"pool": wanted.pool, "batch_size": wanted.batch_size, "device": device}
    probe = imageset.probe_rows(params.dissect.probe)
    seen = np.unique(np.concatenate([probe, imageset.rows("val"), imageset.rows("test")]))
    for name, model, prepare, needed, origin, rows in (
        ("activations", network.model, transform, True, source, None),
        ("activations_untrained", twin, transform, wanted.untrained, untrained, seen),
        ("activations_noisy", network.model, with_noise, wanted.noise > 0, disturbed, probe),
    ):
        layers, chosen = (network.layers, {"rows": rows}) if needed else ((), {})
        folder = layout.artifacts / name
        record_folder(folder, model, prepare, imageset.images, layers, origin, **chosen, **options)
