import numpy as np
import torch

from emobench.faces.scaling import unit_range


def test_grey_and_colour_pictures() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    colour, grey = unit_range(images), unit_range(images[..., 1])
    assert colour.dtype == grey.dtype == torch.float32
    assert grey.shape == (2, 1, 4, 5)
    np.testing.assert_allclose(colour, images.transpose(0, 3, 1, 2) / 255, rtol=1e-6)
    assert torch.equal(grey, colour[:, 1:2])
