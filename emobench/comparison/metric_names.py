"""Names of metrics as they are compared: which are the usual ones, and in which order they are shown."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from emobench.reporting.results import IMAGE_SETS

NETWORKS = {"baseline": "baseline", "chosen": "chosen edit", "paper": "paper's edit"}
HEADLINES = ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece")
MEASURED = re.compile(rf"(?:(baseline|chosen|paper)_)?({'|'.join(sorted(IMAGE_SETS, key=len, reverse=True))})_(.+)")
"""Name of a network, image set and metric; a run of one network doesn't name it."""


def wanted_metric(name: str, patterns: Sequence[str]) -> bool:
    """Whether a metric is compared: one of these patterns or, without any, a usual one."""
    if patterns:
        return any(fnmatchcase(name, pattern) for pattern in patterns)
    measured = MEASURED.fullmatch(name)
    usual = bool(measured and measured[2] == "test" and measured[3] in HEADLINES)
    return usual or name.startswith(("clip_", "held_out_"))


def place_of(name: str) -> tuple[int, int, int, str]:
    """The order of metrics: by network, image set, and how usual the metric is; the others after them by name."""
    if not (measured := MEASURED.fullmatch(name)):
        return len(NETWORKS), 0, 0, name
    usual = HEADLINES.index(measured[3]) if measured[3] in HEADLINES else len(HEADLINES)
    return [*NETWORKS, None].index(measured[1]), list(IMAGE_SETS).index(measured[2]), usual, name
