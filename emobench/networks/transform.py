"""Stored pictures to what a network takes."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emobench.errors import UserError, unknown_name
from emobench.networks.card import InputCard

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601, as Pillow turns RGB to grey."""
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


def to_inputs(images: np.ndarray, card: InputCard) -> Tensor:
    """Pictures to a network's inputs.

    Args:
        images: uint8 (n, height, width) or (n, height, width, 3).
        card: what the network takes.

    Returns:
        float32 (n, channels, *size).

    Raises:
        UserError: pictures of another form, or an unknown interpolation.
    """
    return prepared(as_floats(images), card)


def as_floats(images: np.ndarray) -> Tensor:
    """Pictures uint8 (n, height, width) or (n, height, width, 3) as float32 (n, channels, height, width) in [0, 1]."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        came = f"{images.dtype} {tuple(images.shape)}"
        raise UserError(f"pictures are {came}; expected uint8 (n, height, width) or (n, height, width, 3)")
    scaled = torch.from_numpy(np.array(images, dtype=np.float32)).div_(255)
    return scaled[:, None] if images.ndim == 3 else scaled.movedim(3, 1)


def prepared(pictures: Tensor, card: InputCard) -> Tensor:
    """The same of pictures as float32 (n, channels, height, width) in [0, 1]."""
    if card.interpolation not in INTERPOLATIONS:
        raise unknown_name("interpolation", card.interpolation, INTERPOLATIONS)
    scaled = _cropped(_resized(_with_channels(pictures, card.channels), card), card.size)
    low, high = card.range
    if card.range != (0.0, 1.0):
        scaled = scaled * (high - low) + low
    if card.mean is not None:
        scaled = scaled - torch.tensor(card.mean)[:, None, None]
    if card.std is not None:
        scaled = scaled / torch.tensor(card.std)[:, None, None]
    return scaled.contiguous()


def _with_channels(pictures: Tensor, channels: int) -> Tensor:
    if pictures.shape[1] == channels:
        return pictures
    if pictures.shape[1] == 1:
        return pictures.expand(-1, channels, -1, -1)
    if channels == 1:
        return (pictures * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    raise UserError(f"pictures have {pictures.shape[1]} channels, the network takes {channels}")


def _resized(pictures: Tensor, card: InputCard) -> Tensor:
    size = tuple(round(side / card.crop) for side in card.size)
    if card.interpolation == "nearest":
        return F.interpolate(pictures, size, mode="nearest-exact")
    resized = F.interpolate(pictures, size, mode=card.interpolation, antialias=True, align_corners=False)
    # Cubic curves leave the range at edges; pictures don't.
    return resized.clamp_(0, 1) if card.interpolation == "bicubic" else resized


def _cropped(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    top, left = ((have - want) // 2 for have, want in zip(pictures.shape[2:], size, strict=True))
    return pictures[:, :, top : top + size[0], left : left + size[1]]


def input_card(given: InputCard | Mapping[str, Any] | None, usual: InputCard) -> InputCard:
    """What a network takes: what it usually does, but for what is given.

    Args:
        given: values by name; a side alone is a square ``size``. A whole card is taken as it is.
        usual: of the architecture.

    Raises:
        UserError: an unknown name, or a value that can't be.
    """
    if isinstance(given, InputCard):
        return given
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in (given or {}).items()
    }
    if unknown := values.keys() - asdict(usual).keys():
        raise UserError(f"network.picture has no {', '.join(sorted(unknown))}; known: {', '.join(asdict(usual))}")
    if isinstance(values.get("size"), int):
        values["size"] = (values["size"],) * 2
    card = replace(usual, **values)
    if card.channels == 1:
        # Grey pictures have the mean of what three channels usually have.
        usually = {name: getattr(card, name) for name in ("mean", "std") if name not in values}
        grey: dict[str, Any] = {name: numbers and (sum(numbers) / len(numbers),) for name, numbers in usually.items()}
        card = replace(card, **grey)
    _check_picture(card)
    return card


def _check_picture(card: InputCard) -> None:
    pair = isinstance(card.size, tuple) and len(card.size) == 2 and all(isinstance(side, int) for side in card.size)
    if not pair or min(card.size) < 1:
        raise UserError(f"network.picture.size is {card.size}; expected a side, or [height, width]")
    if card.channels not in (1, 3):
        raise UserError(f"network.picture.channels is {card.channels}; expected 1 (grey) or 3 (RGB)")
    for name, numbers in (("mean", card.mean), ("std", card.std)):
        if numbers is not None and (not isinstance(numbers, tuple) or len(numbers) not in (1, card.channels)):
            count = len(numbers) if isinstance(numbers, tuple) else 0
            raise UserError(
                f"network.picture.{name} has {count} values for {card.channels} channels; expected one, one a "
                "channel, or none"
            )
