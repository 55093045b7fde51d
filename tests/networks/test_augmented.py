"""Pictures as training shows them: what is taken is what training would make of the same pictures and generator."""

import numpy as np
import torch
from small_network import small_vggnet

from emobench.faces.augmentation import augment
from emobench.networks.augmented import Augmented
from emobench.networks.transform import as_floats, prepared
from emobench.settings.data import Augment

ALL = Augment(degrees=10.0, translate=0.1, scale=0.1, flip=0.5, erase=0.5)


def test_pictures_are_changed_as_in_training_and_anew_each_time() -> None:
    network, images = small_vggnet(), np.random.default_rng(0).integers(256, size=(9, 48, 48), dtype=np.uint8)
    rows, places = np.array([1, 4, 6, 8]), torch.tensor([2, 0])
    taken, generator = Augmented(network, images, rows, ALL), torch.Generator().manual_seed(3)
    first, second = taken(places, generator), taken(places, generator)
    wanted = augment(as_floats(images[[6, 1]]), ALL, torch.Generator().manual_seed(3))
    assert torch.equal(first, prepared(wanted, network.card.input))
    assert first.shape == (2, 1, 40, 40)
    assert not torch.equal(first, second)
