"""Constant columns of a matrix, told by value.

By its spread a constant is not known for sure: the mean of equal numbers may differ from them in its last bits, which
depends on how a processor sums them, and a division by such a spread makes a column of its own out of rounding.
"""

import torch
from torch import Tensor


def constant_columns(values: Tensor) -> Tensor:
    """Which columns (rows, columns) hold one value only: bool (columns,).

    >>> constant_columns(torch.tensor([[0.1, 1.0], [0.1, 2.0], [0.1, 1.0]])).tolist()
    [True, False]
    """
    return (values == values[:1]).all(dim=0)


def standardised(values: Tensor) -> Tensor:
    """Columns without their means and over their standard deviations; a constant column gives zeros."""
    spread = values.std(dim=0).clamp(min=torch.finfo(values.dtype).tiny)
    return torch.where(constant_columns(values), 0.0, (values - values.mean(dim=0)) / spread)


def centred(values: Tensor) -> Tensor:
    """Columns without their means, in float64; a constant column gives zeros.

    >>> centred(torch.tensor([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0]])).tolist()
    [[0.0, -1.0], [0.0, 0.0], [0.0, 1.0]]
    """
    wide = values.to(torch.float64)
    return torch.where(constant_columns(values), 0.0, wide - wide.mean(dim=0))
