"""The params of emobench's presets, each read once: reading one takes as long as many a test."""

from functools import cache
from pathlib import Path

import emobench
from emobench.params import Params, load_params

PRESETS = Path(emobench.__file__).parent / "presets"


@cache
def preset(name: str = "demo") -> Params:
    """What the file of that name says; not to be changed, only replaced."""
    return load_params(PRESETS / f"{name}.yaml")
