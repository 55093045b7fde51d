"""Bringing a benchmark's inputs: a preset becomes params.yaml, raw files go under DVC, and both are tried."""

from emobench.inputs.checking import check_inputs
from emobench.inputs.use import use_preset

__all__ = ["check_inputs", "use_preset"]
