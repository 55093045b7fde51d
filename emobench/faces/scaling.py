"""Stored pictures as what models compute on."""

import numpy as np
import torch


def unit_range(images: np.ndarray) -> torch.Tensor:
    """Pictures uint8 (n, height, width) or (n, height, width, 3) as float32 (n, channels, height, width) in [0, 1]."""
    scaled = torch.from_numpy(images.astype(np.float32)).div_(255)
    return scaled[:, None] if images.ndim == 3 else scaled.movedim(3, 1)
