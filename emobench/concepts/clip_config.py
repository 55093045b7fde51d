"""The config of a CLIP as the stage clip wrote it."""

from pathlib import Path
from typing import Any

from emobench.quantities import WrongError
from emobench.stored import read_json, reading

FOREIGN = "was not written by the stage 'clip'"
INTERPOLATIONS = ("bicubic", "bilinear")


def read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The model's config, and its preprocessing, which must be one that ``to_inputs`` can do."""
    content = read_json(path, "clip", called=FOREIGN)
    with reading(path, "clip", FOREIGN):
        config, known = content["model_cfg"], content["preprocess_cfg"]
        sides = [known["size"]] if isinstance(known["size"], int) else list(known["size"])
        if len(set(sides)) != 1 or not isinstance(sides[0], int) or not 0 < sides[0] <= 4096:
            raise WrongError(f"size is {known['size']}; expected a square")
        colours = [float(value) for name in ("mean", "std") for value in known[name]]
        if len(known["mean"]) != 3 or len(known["std"]) != 3 or min(colours[3:]) <= 0:
            raise WrongError(f"mean is {known['mean']}, std {known['std']}; expected three numbers each, std above 0")
        if known["interpolation"] not in INTERPOLATIONS:
            raise WrongError(f"interpolation is {known['interpolation']}; known: {', '.join(INTERPOLATIONS)}")
        if not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
            raise WrongError("model_cfg lacks embed_dim, vision_cfg or text_cfg")
    return config, known
