"""What a network's units do on pictures, in one call."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from emobench.errors import unknown_name
from emobench.networks.network import Network
from emobench.networks.record_folder import record_arrays


def record(
    network: Network, images: np.ndarray, layers: Sequence[str] | None = None, *, pool: str = "avg",
    tokens: str = "mean", batch_size: int = 64,
) -> dict[str, Tensor]:  # fmt: skip
    """Runs the network over pictures and keeps one number a unit and picture.

    For a model and inputs of your own, in a ``with`` block, see :func:`emobench.recorded`.

    Args:
        network: see :func:`emobench.load_network` and :func:`emobench.build_network`.
        images: uint8 (n, height, width) or (n, height, width, 3).
        layers: names, as in ``[layer.name for layer in network.layers]``; all without.
        pool: ``avg`` or ``max`` over space.
        tokens: of a transformer's layers, ``mean`` over the picture's tokens, or the ``cls`` token.
        batch_size: pictures at a time.

    Returns:
        From layer to activations (n, units) float32.

    Raises:
        UserError: no such layer.

    >>> from emobench.networks.sources import build_network
    >>> network = build_network("vggnet", {"width": 0.02}, classes=["sad", "happy"])
    >>> record(network, np.zeros((3, 48, 48), np.uint8), ["lin3"])["lin3"].shape
    torch.Size([3, 2])
    """
    known = [layer.name for layer in network.layers]
    for layer in layers or ():
        if layer not in known:
            raise unknown_name("layer", layer, known)
    arrays = {layer: np.empty((len(images), network.card.layer(layer).units), np.float32) for layer in layers or known}
    record_arrays(network, images, np.arange(len(images)), arrays, pool=pool, tokens=tokens, batch_size=batch_size)
    return {layer: torch.from_numpy(array) for layer, array in arrays.items()}
