"""Values that a caller doesn't name: those of the embedded demo, read from its preset, so that they stand once."""

from functools import cache
from pathlib import Path

from emobench.params import Params, load_params


@cache
def demo() -> Params:
    """The demo's params."""
    return load_params(Path(__file__).parents[1] / "presets" / "demo.yaml")
