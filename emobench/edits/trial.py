"""Edits of one layer tried: measured, the judged among them accompanied by controls."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from emobench.edits.controls import accompanied
from emobench.edits.drawing import run_controls
from emobench.edits.family import best_of_all, family
from emobench.edits.measuring import Bench, Measured
from emobench.edits.target import Configuration


@dataclass(frozen=True)
class Trial:
    """What was tried on one layer.

    ``chosen`` is best on val; ``parts`` are the edits and then their controls; ``logits`` (members, images, classes)
    are those of ``judged``: the baseline and the edits that get a verdict; ``evaluated``: how many were looked at.
    """

    chosen: Configuration
    parts: list[Measured]
    judged: list[str]
    logits: Tensor
    evaluated: int


def try_edits(bench: Bench, configs: Sequence[Configuration], *, seed: int) -> Trial:
    """Measures configurations, the first being the baseline, and the controls of those that are judged.

    Args:
        bench: the layer and the images.
        configs: all that are tried.
        seed: of the random controls.
    """
    logits = bench.logits(configs)
    edits = bench.measured(configs, logits)
    members, best = family(edits.table, bench.target.edit.paper), best_of_all(edits.table) or "baseline"
    controls, tried = run_controls(bench, accompanied(members, configs), edits, logits[0], seed=seed)
    judged = ["baseline", *dict.fromkeys(members["config_id"])]
    logits = logits[[edits.config_ids.index(name) for name in judged]]
    chosen = configs[edits.config_ids.index(best)]
    return Trial(chosen, [edits, *controls], judged, logits, len(configs) + tried)
