"""One number for each image and unit from what a layer puts out."""

from collections.abc import Callable

import torch

POOLS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "avg": lambda output: output.mean((2, 3)),
    "max": lambda output: output.amax((2, 3)),
}


def pool(output: torch.Tensor, how: str = "avg") -> torch.Tensor:
    """Pools a layer's output over space; CLIP-Dissect (Oikarinen and Weng, 2023) calls the result the unit's summary.

    Args:
        output: (images, channels, height, width) of a convolution, or (images, units) of a fully connected layer.
        how: "avg" or "max" over height and width. A fully connected output is returned as it is.

    Returns:
        (images, units), a unit being a channel or an output.

    Raises:
        ValueError: an unknown ``how``, or an output of another shape.

    >>> pool(torch.tensor([[[[1.0, 3.0]]]]), "max")
    tensor([[3.]])
    """
    if how not in POOLS:
        raise ValueError(f"how: expected one of {', '.join(POOLS)}; got {how!r}")
    if output.ndim == 2:
        return output
    if output.ndim != 4 or 0 in output.shape[2:]:
        expected = "(images, channels, height, width) with at least one pixel, or (images, units)"
        raise ValueError(f"output: expected {expected}; got shape {tuple(output.shape)}")
    return POOLS[how](output)
