"""What the metrics files of a benchmark hold: nested numbers (null where nothing was measured), and a few words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emobench.quantities import WrongError

WORDS = ("precision", "evidence", "config_id", "layer")
"""Keys that hold a word; ``said`` holds several."""


@dataclass(frozen=True)
class Agreement:
    """How well a layer's units fit what they are called; ``units``: how many."""

    described: float | None
    random: float | None
    units: int


@dataclass(frozen=True)
class OutputLayer:
    """How many units of the output layer are called what they stand for, by concept set and function."""

    layer: str | None
    concept_sets: dict[str, dict[str, dict[str, int]]]


@dataclass(frozen=True)
class HeldOut:
    """``held_out.json``; by layer: the trained and the untrained network's agreement."""

    evidence: str
    output_layer: OutputLayer | None = None
    trained: dict[str, Agreement] = field(default_factory=dict)
    untrained: dict[str, Agreement] = field(default_factory=dict)


@dataclass(frozen=True)
class ClipFacts:
    """``models/<name>/clip/clip.json``, as far as the report tells of it."""

    source: str
    saw_labels: bool = False
    saw_annotations: bool = False


FORMS: dict[str, type] = {"held_out": HeldOut}
"""Of the files whose structure the report needs; the others are shown as they are."""


def check_metrics(values: Mapping[str, Any]) -> None:
    """Raises WrongError where a value is neither a number, nor nothing, nor a word where one belongs."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            check_metrics(value)
        elif isinstance(value, bool | str | list):
            word = isinstance(value, str) and name in WORDS
            words = isinstance(value, list) and name == "said" and all(isinstance(one, str) for one in value)
            if not (word or words):
                raise WrongError(f"{name} is {str(value)[:60]!r}; expected a number")
        elif name in WORDS:
            raise WrongError(f"{name} is {value}; expected a word")
