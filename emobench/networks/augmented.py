"""Pictures as training shows them to a network: changed at random, each time anew."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emobench.faces.augmentation import augment
from emobench.networks.network import Network
from emobench.networks.transform import as_floats, prepared
from emobench.settings.data import Augment


@dataclass(frozen=True)
class Augmented:
    """Calling it with places among ``rows`` gives what the network takes of these pictures, changed by a generator."""

    network: Network
    images: np.ndarray
    rows: np.ndarray
    params: Augment

    def __call__(self, places: Tensor, generator: torch.Generator) -> Tensor:
        """Inputs (places, channels, height, width)."""
        pictures = as_floats(np.asarray(self.images[self.rows[places.numpy()]]))
        changed = augment(pictures, self.params, generator)
        return prepared(changed, self.network.card.input).to(self.network.device)
