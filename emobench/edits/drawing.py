"""Drawing controls: in rounds, each searched on val and then measured, until a kind's verdict is settled.

A kind of random control stops, after a least number of draws, where no further draw could change the verdict on any
image set that edits are judged on: so many draws do as well as the edit that it can't be told to improve (see
emobench.functional.stopping), or its own test rules that out whatever its controls do (see family.may_improve). The
draws that are kept are the first of those that would be made without stopping. Rounds are cut by draws, chunks by a
fixed size and the work goes through the members by name, so that neither their order nor the number of workers decides
what is computed beside what.
"""

import hashlib
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from emobench.edits.controls import Search, blank, random_searches, single_searches
from emobench.edits.family import LEVEL, RANDOM_KINDS, best_index
from emobench.edits.measuring import Bench, Measured, joined, picked
from emobench.edits.target import Configuration, Target
from emobench.functional.calibration import fit_temperature
from emobench.functional.stopping import settling_hits, stopping_draw
from emobench.settings.edit import Controls

ROUND_DRAWS = 25
CHUNK_BYTES = 2**27
"""Of scales or logits that are evaluated together, where the memory allows it."""
Evaluate = Callable[[Sequence[Configuration]], tuple[np.ndarray, np.ndarray]]
"""Accuracy and NLL (configs,) of some configurations on val."""
Members = Mapping[str, Sequence[Configuration]]
"""For each judged edit its name, and then itself and the cells it was chosen from (see accompanied)."""


class Tally:
    """Which draws of one kind of random control do as well as the edit that they accompany.

    Args:
        controls: how many draws are planned and made at least.
        edit: right answers of the edit on each judged image set (sets,); whole numbers, so that a tie is one.
        open_: the sets (sets,) bool on which the draws decide anything; on all if not given.
    """

    def __init__(self, controls: Controls, edit: Tensor, open_: Tensor | None = None) -> None:
        self._controls, self._edit = controls, edit
        self._open = torch.ones(len(edit), dtype=torch.bool) if open_ is None else open_
        self._hits = torch.zeros(0, len(edit), dtype=torch.bool)
        self.kept: int | None = None
        """How many draws count; None while more are to be made."""

    def add(self, right: Tensor) -> None:
        """The next draws: their right answers (draws, sets)."""
        self._hits = torch.cat([self._hits, right >= self._edit])
        planned = self._controls.draws
        if self._controls.least < planned:
            hits, least = self._hits[:, self._open], self._controls.least
            self.kept = stopping_draw(hits, settling_hits(planned, LEVEL), least)
        if self.kept is None and len(self._hits) >= planned:
            self.kept = planned


def new_tallies(bench: Bench, answers: Mapping[str, np.ndarray], config_id: str, open_: Tensor) -> dict[str, Tally]:
    """An empty tally of an edit for each random kind; ``answers`` and ``open_`` as in Bench.open_sets."""
    right = bench.right(answers[config_id][None])[0]
    return {kind: Tally(bench.target.edit.controls, right, open_) for kind in RANDOM_KINDS}


def rounds(controls: Controls, more: int = ROUND_DRAWS) -> Iterator[range]:
    """The draws of each round: as many as are made at least, and then so many more each time."""
    first, end = 0, max(controls.least, more)
    while first < controls.draws:
        yield range(first, min(end, controls.draws))
        first, end = end, end + more


class Chooser:
    """Finds the cell of each search that is best on val; what several searches have in common is evaluated once.

    Args:
        evaluate: measures configurations on val.
        bias: of the layer (units,).
        at_once: about how many configurations are handed to ``evaluate``.
    """

    def __init__(self, evaluate: Evaluate, bias: Tensor, *, at_once: int) -> None:
        self._evaluate, self._bias, self._at_once = evaluate, bias, at_once
        self._known: dict[bytes, tuple[float, float]] = {}

    @property
    def evaluated(self) -> int:
        """How many configurations were evaluated so far."""
        return len(self._known)

    def chosen(self, searches: Iterable[tuple[Search, Configuration]]) -> list[Configuration]:
        """The control of each search, which comes with the edit that it accompanies."""
        found: list[Configuration] = []
        waiting: list[tuple[Search, Configuration]] = []
        new: dict[bytes, Configuration] = {}
        for search, edit in searches:
            waiting.append((search, edit))
            new.update((key, cell) for cell in search.cells if (key := _key(cell)) not in self._known)
            if len(new) >= self._at_once:
                found += self._settled(waiting, new)
                waiting, new = [], {}
        return found + self._settled(waiting, new)

    def _settled(
        self, waiting: Sequence[tuple[Search, Configuration]], new: Mapping[bytes, Configuration]
    ) -> list[Configuration]:
        # Like edits together: the sweep is quick where neighbours share their values.
        keys = sorted(new, key=lambda key: (new[key].operation, new[key].factor or 0.0))
        if keys:
            scores = self._evaluate([new[key] for key in keys])
            self._known.update(zip(keys, zip(*scores, strict=True), strict=True))
        found = []
        for search, edit in waiting:
            accuracy, nll = np.array([self._known[_key(cell)] for cell in search.cells]).T
            found.append(search.choice(search.cells[best_index(accuracy, nll)], edit, self._bias))
        return found


def run_controls(
    bench: Bench, members: Members, edits: Measured, baseline: Tensor, *, seed: int
) -> tuple[list[Measured], int]:
    """The controls of the judged edits, measured on all images.

    Args:
        bench: the layer and the images.
        members: see accompanied.
        edits: the judged ones measured, others may be among them.
        baseline: logits (images, classes) of the network as it is.
        seed: of the benchmark.

    Returns:
        The controls in parts, and how many configurations were tried on val for them: also those of draws that were
        made in the round in which their kind stopped, but are not kept.
    """
    target, options = bench.target, bench.target.edit.controls
    if not options.draws or not members:
        return [], 0
    cooled = baseline / fit_temperature(baseline[bench.positions["val"]], bench.labels[bench.positions["val"]])
    softer = [blank(target.layer, name, edit, "temperature") for name, (edit, *_) in members.items()]
    parts = [bench.measured(softer, cooled.expand(len(softer), *cooled.shape))]
    choose = Chooser(bench.on_val, target.bias, at_once=_chunk(bench, 8 * len(target.weight)))
    drawn = _drawn(bench, members, edits, baseline.argmax(-1).numpy(), choose, seed=seed)
    print(f"edit: {choose.evaluated} configurations on val for {len(drawn.config_ids)} controls", file=sys.stderr)
    return [*parts, drawn], choose.evaluated


def _drawn(
    bench: Bench, members: Members, edits: Measured, baseline: np.ndarray, choose: Chooser, *, seed: int
) -> Measured:
    """All controls that are searched for, in the order of the members: both random kinds, uniform, inverse."""
    options = bench.target.edit.controls
    judged = picked(edits, [edit.config_id for edit, *_ in members.values()])
    answers = {"baseline": baseline, **dict(zip(judged.config_ids, judged.predictions, strict=True))}
    open_sets = bench.open_sets(answers)
    tallies = {
        (name, kind): tally
        for name, (edit, *_) in members.items()
        for kind, tally in new_tallies(bench, answers, edit.config_id, open_sets[edit.config_id]).items()
    }
    chosen, parts = [], []
    for draws in rounds(options):
        drawing = {key for key, tally in tallies.items() if tally.kept is None}
        some = choose.chosen(_searches(bench.target, members, drawing, draws, seed=seed)) if drawing else []
        if not some:
            break
        parts.append(_measured(bench, some))
        answers = bench.right(parts[-1].predictions)
        for key in drawing:
            tallies[key].add(answers[[index for index, one in enumerate(some) if (one.criterion, one.arm) == key]])
        chosen += some
    order = [(name, kind) for name in members for kind in (*RANDOM_KINDS, "uniform", "inverse")]
    own = {key: [one for one in chosen if (one.criterion, one.arm) == key] for key in order}
    kept = [one.config_id for key in order for one in own[key][: tallies[key].kept if key in tallies else None]]
    return picked(joined(parts), kept)


def _searches(
    target: Target, members: Members, drawing: Container[tuple[str, str]], draws: range, *, seed: int
) -> Iterator[tuple[Search, Configuration]]:
    """One round's searches, each with its edit, by name; the controls that have no draws are in the first round."""
    for name in sorted(members):
        edit, *cells = members[name]
        for kind in RANDOM_KINDS:
            if (name, kind) in drawing:
                for search in random_searches(target, name, edit, cells, kind, draws, seed=seed):
                    yield search, edit
        if draws.start == 0:
            for search in single_searches(target, name, edit, cells):
                yield search, edit


def _measured(bench: Bench, configs: Sequence[Configuration]) -> Measured:
    """Measured on all images, so many at a time that their logits can be held."""
    at_once = _chunk(bench, 4 * len(bench.inputs) * len(bench.network.classes))
    parts = [configs[first : first + at_once] for first in range(0, len(configs), at_once)]
    return joined([bench.measured(some, bench.logits(some)) for some in parts])


def _chunk(bench: Bench, each: int) -> int:
    """How many configurations, ``each`` of so many bytes, are held together."""
    return int(min(CHUNK_BYTES, bench.held_bytes) / each) + 1


def _key(configuration: Configuration) -> bytes:
    """Tells apart what is computed: equal for configurations with the same scale and shift."""
    shift = b"" if configuration.shift is None else configuration.shift.numpy().tobytes()
    return hashlib.sha256(configuration.scale.numpy().tobytes() + b"|" + shift).digest()
