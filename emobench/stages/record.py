"""Stage record: one pass over all images, every layer's units pooled to one number an image; and two controls."""

from typing import Any

import numpy as np

from emobench.device import pick_device
from emobench.faces.imageset import load_imageset
from emobench.layout import Layout
from emobench.networks.record_folder import record_folder
from emobench.networks.sources import load_network, untrained
from emobench.params import Params
from emobench.seen import note

GIVEN = ("models/{name}/network/network.json", "reports/{name}/network.json", "reports/{name}/history.csv")
"""What is noted for the stages that use or show it. The card of the network holds the digest of its weights."""


def run(params: Params, layout: Layout) -> None:
    """Writes <layer>.npy float32 (images, units) for the network and, if wanted, its controls.

    These are the same architecture with random weights, and the network itself on images with noise. They are recorded
    on the images that the stage dissect reads of them: the probe, for the untrained one also the held-out images.
    """
    imageset, device, wanted = load_imageset(layout.data), pick_device(params.device), params.record
    network = load_network(layout.models / "network").to(device)
    random = untrained(network.card, seed=params.seed + 1).to(device) if wanted.untrained else network
    source = {"images_digest": imageset.digest(), "weights_digest": network.card.weights, "pool": wanted.pool}
    options: dict[str, Any] = {"pool": wanted.pool, "tokens": wanted.tokens, "batch_size": wanted.batch_size}
    probe = imageset.probe_rows(params.dissect.probe)
    seen = np.unique(np.concatenate([probe, imageset.rows("val"), imageset.rows("test")]))
    disturbed = {"rows": probe, "noise": wanted.noise, "seed": params.seed}
    twin = {"weights_digest": f"untrained, seed {params.seed + 1}"}
    for name, model, needed, origin, chosen in (
        ("activations", network, True, source, {}),
        ("activations_untrained", random, wanted.untrained, source | twin, {"rows": seen}),
        ("activations_noisy", network, wanted.noise > 0, source | {"noise": str(wanted.noise)}, disturbed),
    ):
        layers = [layer.name for layer in network.card.chosen] if needed else []
        kept = chosen if needed else {}
        record_folder(layout.artifacts / name, model, imageset.images, layers, origin, **kept, **options)
    note(layout, "record", GIVEN)
