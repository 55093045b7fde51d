"""The config of a CLIP as the stage clip wrote it."""

import math
from pathlib import Path
from typing import Any

from emobench.quantities import WrongError
from emobench.stored import read_json, reading

FOREIGN = "was not written by the stage 'clip'"
INTERPOLATIONS = ("bicubic", "bilinear")


def are_colours(mean: Any, std: Any) -> bool:
    """Whether these are three finite numbers each, those of ``std`` above 0."""
    if not all(isinstance(one, list | tuple) and len(one) == 3 for one in (mean, std)):
        return False
    numbers = [*mean, *std]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in numbers):
        return False
    return min(std) > 0


def read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The model's config, and its preprocessing, which must be one that ``to_inputs`` can do."""
    content = read_json(path, "clip", called=FOREIGN)
    with reading(path, "clip", FOREIGN):
        config, known = content["model_cfg"], content["preprocess_cfg"]
        sides = [known["size"]] if isinstance(known["size"], int) else list(known["size"])
        if len(set(sides)) != 1 or not isinstance(sides[0], int) or not 0 < sides[0] <= 4096:
            raise WrongError(f"size is {known['size']}; expected a square")
        if not are_colours(known["mean"], known["std"]):
            raise WrongError(f"mean is {known['mean']}, std {known['std']}; expected three numbers each, std above 0")
        if known["interpolation"] not in INTERPOLATIONS:
            raise WrongError(f"interpolation is {known['interpolation']}; known: {', '.join(INTERPOLATIONS)}")
        if not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
            raise WrongError("model_cfg lacks embed_dim, vision_cfg or text_cfg")
    return config, known
