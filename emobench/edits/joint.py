"""Edits of several layers at once, or beyond thresholds, measured as edits of one layer are, with the same controls.

There is no cheap way past the first edited layer, so these are few: what a search found, or a user of the library asks
for. Random controls permute the units within each layer (``decile``: within tenths of its rows' L1 norms), uniform ones
scale all rows of all layers.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from emobench.cores import one_a_core
from emobench.edits.controls import blank, norm_deciles, shuffled
from emobench.edits.drawing import Tally, new_tallies, rounds
from emobench.edits.family import RANDOM_KINDS, best_index
from emobench.edits.found import Found
from emobench.edits.measuring import Bench, Measured, joined, measure, picked
from emobench.edits.target import Configuration, layer_weight
from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import probability_metrics
from emobench.networks.network import Pictures
from emobench.progress import progress
from emobench.sweeps.runs import Kept
from emobench.sweeps.scaled import ScaledNetwork
from emobench.sweeps.tasks import VERSION

ROUND_DRAWS = 4
"""So many draws more at a time: nothing is shared between them, and those behind the stop are in vain."""
NOTHING_KEPT = Kept(None, "")
Scales = Mapping[str, Tensor]
Cell = tuple[float | None, Scales]
"""Strength or factor, and what it gives each layer."""


@dataclass(frozen=True)
class JointEdits:
    """Joint edits measured, with the controls of the judged ones.

    ``judged`` are the best on val of each arm, ``logits`` theirs: float32 (judged, images, classes). ``evaluated`` is
    how many edits were looked at in all.
    """

    measured: Measured
    judged: list[str]
    logits: Tensor
    evaluated: int


def measure_joint(
    bench: Bench, found: Sequence[Found], *, seed: int, answers: Mapping[str, np.ndarray] | None = None
) -> JointEdits | None:
    """Measures edits of several layers, and the controls of the one in each arm that is best on val.

    Args:
        bench: the network, the images and their sets; its own layer plays no part.
        found: edits of several layers each, or beyond thresholds; those of one arm scale the same layers and ranges.
        seed: of the benchmark; a draw's permutation depends on it, the kind, the draw and the layer.
        answers: predictions (images,) of the baseline and of the judged edits that are measured already; without, the
            baseline is asked anew.

    Returns:
        None where nothing was found.
    """
    known = dict(answers or {})
    arms: dict[str, list[Found]] = {}
    for one in found:
        arms.setdefault(one.arm, []).append(one)
    parts, judged, logits, evaluated = [], [], [], 0
    for name, cells in arms.items():
        arm = _Arm(bench, name, cells)
        edits, every = arm.measured([one.configuration() for one in cells], [one.scales for one in cells])
        best = best_index(*arm.scores(every[:, arm.val]))
        judged.append(cells[best].config_id)
        known[judged[-1]] = edits.predictions[best]
        parts += [edits, *arm.controls(best, known, seed)]
        logits.append(every[best])
        evaluated += len(cells) + arm.tried
    return JointEdits(joined(parts), judged, torch.stack(logits), evaluated) if parts else None


class _Arm:
    """The cells of one arm of joint edits."""

    def __init__(self, bench: Bench, name: str, cells: Sequence[Found]) -> None:
        self.bench, self.name, self.cells, self.tried = bench, name, cells, 0
        self.network = ScaledNetwork(
            bench.network, list(cells[0].scales), bench.inputs, memory_gib=bench.memory_gib, ranges=cells[0].ranges
        )
        self.layer = "+".join(self.network.layers)
        self.val = torch.from_numpy(bench.positions["val"])

    def measured(self, configs: Sequence[Configuration], scales: Sequence[Scales]) -> tuple[Measured, Tensor]:
        """Table and predictions, and logits (configs, images, classes), of some edits."""
        logits = torch.stack([self.network.all_logits(one) for one in scales])
        return self._as_measured(configs, logits), logits

    def scores(self, logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Accuracy and NLL (configs,) of logits (configs, val images, classes)."""
        labels = self.bench.labels[self.val]
        return (logits.argmax(-1) == labels).double().mean(-1).numpy(), probability_metrics(logits, labels)[
            "nll"
        ].numpy()

    def controls(self, best: int, answers: Mapping[str, np.ndarray], seed: int) -> Iterator[Measured]:
        """The controls of the best cell: each the best on val of the same cells, changed in one way.

        ``answers``: see measure_joint, with the best cell's.
        """
        edit = self.cells[best].configuration()
        if not self.bench.target.edit.controls.draws:
            return
        cooled = self.network.all_logits(None)
        answers = {"baseline": cooled.argmax(-1).numpy(), **answers}
        cooled = cooled / fit_temperature(cooled[self.val], self.bench.labels[self.val])
        yield self._as_measured([blank(self.layer, self.name, edit, "temperature")], cooled[None])
        open_ = self.bench.open_sets(answers)[edit.config_id]
        for kind, tally in new_tallies(self.bench, answers, edit.config_id, open_).items():
            yield self._drawn(edit, tally, kind, seed)
        for kind, cells in self._single_cells().items():
            self.tried += len(cells)
            control, logits = self._control(edit, kind, None, cells)
            yield self._as_measured([control], logits[None])

    def _drawn(self, edit: Configuration, tally: Tally, kind: str, seed: int) -> Measured:
        """The random controls of one kind, in the order of the draws, until they settle the verdict."""
        controls = self.bench.target.edit.controls
        kept, found = self._kept(kind, seed), list[Measured]()
        with progress(total=controls.draws, desc=f"controls {self.name}, {kind}", unit="control") as bar:

            def drawn(draw: int) -> tuple[Configuration, Tensor]:
                one = self._control(edit, kind, draw, self._cells(kind, draw, seed), kept)
                bar.update()
                return one

            for draws in rounds(controls, ROUND_DRAWS):
                some, logits = zip(*one_a_core(drawn, draws, self.network.device), strict=True)
                found.append(self._as_measured(some, torch.stack(logits)))
                tally.add(self.bench.right(found[-1].predictions))
                if tally.kept is not None:
                    break
        settled = controls.draws if tally.kept is None else tally.kept
        self.tried += len(self.cells) * settled
        every = joined(found)
        return picked(every, every.config_ids[:settled])

    def _kept(self, kind: str, seed: int) -> Kept:
        """Where the draws of one kind are kept, for a run that is interrupted."""
        work = self.bench.workers.get("work")
        if work is None:
            return Kept(None, "")
        scales = torch.stack([one.configuration().scale for one in self.cells]).numpy()
        inputs, labels = self.bench.inputs, self.bench.labels.numpy()
        weights = self.bench.network.card.weights
        digest = hashlib.sha256(f"{VERSION} {self.layer} {kind} {seed} {scales.shape} {weights}".encode())
        seen = inputs.key().encode() if isinstance(inputs, Pictures) else inputs.cpu().numpy()
        thresholds = [one.threshold.numpy() for one in (self.cells[0].ranges or {}).values()]
        for array in (seen, scales, labels, self.bench.positions["val"], *thresholds):
            digest.update(array if isinstance(array, bytes) else np.ascontiguousarray(array).data)
        return Kept(work, digest.hexdigest())

    def _cells(self, kind: str, draw: int, seed: int) -> list[Cell]:
        """The cells of a random control: the units of each layer in another order."""
        orders = {}
        for position, layer in enumerate(self.network.layers):
            weight = layer_weight(self.bench.network, layer)
            groups = norm_deciles(weight) if kind == "decile" else np.zeros(len(weight), int)
            generator = np.random.default_rng((seed, RANDOM_KINDS.index(kind), draw, position))
            orders[layer] = shuffled(groups, generator)
        return [(one.exponent, {layer: one.scales[layer][orders[layer]] for layer in one.scales}) for one in self.cells]

    def _single_cells(self) -> dict[str, list[Cell]]:
        """The cells of the uniform and the inverse control."""
        factors = dict.fromkeys(
            f for factor in self.bench.target.edit.factors if factor > 0 for f in (factor, 1 / factor)
        )
        some = self.cells[0].scales
        return {
            "uniform": [(f, {layer: torch.full_like(one, f) for layer, one in some.items()}) for f in factors],
            "inverse": [
                (one.exponent, {layer: torch.where(scale == 0, 1.0, 1 / scale) for layer, scale in one.scales.items()})
                for one in self.cells
            ],
        }

    def _control(
        self, edit: Configuration, kind: str, draw: int | None, cells: Sequence[Cell], kept: Kept = NOTHING_KEPT
    ) -> tuple[Configuration, Tensor]:
        """The cell that is best on val, as a control, and its logits (images, classes)."""
        known = kept.load(f"{draw}")
        if known is None:
            best, logits = self._best_on_val(cells)
            known = {"best": np.array(best), "logits": logits.numpy()}
            kept.save(f"{draw}", known)
        factor, scales = cells[int(known["best"])]
        flat = torch.cat(list(scales.values()))
        differing = int((flat != edit.scale).sum())
        control = replace(
            blank(self.layer, self.name, edit, kind, draw), scale=flat, factor=factor, rows_differing=differing
        )
        return control, torch.from_numpy(known["logits"])

    def _best_on_val(self, cells: Sequence[Cell]) -> tuple[int, Tensor]:
        """Which cell it is, and its logits (images, classes); val is gone through once."""
        if len(cells) == 1:
            return 0, self.network.all_logits(cells[0][1])
        val = self.bench.positions["val"]
        every = torch.stack([self.network.all_logits(scales, val) for _, scales in cells])
        best = best_index(*self.scores(every))
        others = np.setdiff1d(np.arange(self.network.images), val)
        logits = every.new_empty(self.network.images, every.shape[-1])
        logits[self.val], logits[others] = every[best], self.network.all_logits(cells[best][1], others)
        return best, logits

    def _as_measured(self, configs: Sequence[Configuration], logits: Tensor) -> Measured:
        bench = self.bench
        shared = {"concept_set": bench.target.edit.concept_set, "similarity_fn": bench.target.edit.similarity_fn}
        table = measure(configs, logits, bench.labels, bench.positions, bench.network.classes).assign(
            layer=self.layer, **shared
        )
        return Measured([one.config_id for one in configs], table, logits.argmax(-1).numpy().astype(np.uint8))
