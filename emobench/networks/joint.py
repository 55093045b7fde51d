"""Edits of several layers at once, measured as edits of one layer are, and with the same controls.

There is no cheap way past the first edited layer, so these are few: what a search found. Random controls permute the
units within each layer (``decile``: within tenths of its rows' L1 norms), uniform ones scale all rows of all layers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import probability_metrics
from emobench.networks.controls import blank, norm_deciles, shuffled
from emobench.networks.family import RANDOM_KINDS, best_index
from emobench.networks.measuring import Bench, Measured, joined, measure
from emobench.networks.scaled import ScaledNetwork
from emobench.networks.search import Found
from emobench.networks.target import Configuration
from emobench.progress import progress

Scales = Mapping[str, Tensor]


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


def measure_joint(bench: Bench, found: Sequence[Found], *, seed: int) -> JointEdits | None:
    """Measures edits of several layers, and the controls of the one in each arm that is best on val.

    Args:
        bench: the network, the images and their sets; its own layer plays no part.
        found: edits of several layers each; those of one arm scale the same layers.
        seed: of the benchmark; a draw's permutation depends on it, the kind, the draw and the layer.

    Returns:
        None where nothing was found.
    """
    arms: dict[str, list[Found]] = {}
    for one in found:
        arms.setdefault(one.arm, []).append(one)
    parts, judged, logits, evaluated = [], [], [], 0
    for name, cells in arms.items():
        arm = _Arm(bench, name, cells)
        edits, every = arm.measured([one.configuration() for one in cells], [one.scales for one in cells])
        best = best_index(*arm.scores(every[:, arm.val]))
        parts += [edits, *arm.controls(best, seed)]
        judged.append(cells[best].config_id)
        logits.append(every[best])
        evaluated += len(cells) + arm.tried
    return JointEdits(joined(parts), judged, torch.stack(logits), evaluated) if parts else None


class _Arm:
    """The cells of one arm of joint edits."""

    def __init__(self, bench: Bench, name: str, cells: Sequence[Found]) -> None:
        self.bench, self.name, self.cells, self.tried = bench, name, cells, 0
        self.network = ScaledNetwork(bench.model, list(cells[0].scales), bench.inputs, memory_gib=bench.memory_gib)
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

    def controls(self, best: int, seed: int) -> Iterator[Measured]:
        """The controls of the best cell: each the best on val of the same cells, changed in one way."""
        edit = self.cells[best].configuration()
        draws = self.bench.target.edit.controls.draws
        if not draws:
            return
        cooled = self.network.all_logits(None)
        cooled = cooled / fit_temperature(cooled[self.val], self.bench.labels[self.val])
        yield self._as_measured([blank(self.layer, self.name, edit, "temperature")], cooled[None])
        choices = [
            self._choice(edit, *search)
            for search in progress(
                self._searches(draws, seed),
                total=len(RANDOM_KINDS) * draws + 2,
                desc=f"controls {self.name}",
                unit="control",
            )
        ]
        for control, scales in choices:
            yield self.measured([control], [scales])[0]

    def _searches(self, draws: int, seed: int) -> Iterator[tuple[str, int | None, list[tuple[float | None, Scales]]]]:
        """Kind, draw, and the cells to choose from as strength and scales."""
        model, cells = self.bench.model, [(one.strength, one.scales) for one in self.cells]
        for number, kind in enumerate(RANDOM_KINDS):
            weights = {layer: model.get_submodule(layer).weight.detach().cpu() for layer in self.network.layers}
            groups = {
                layer: norm_deciles(weight) if kind == "decile" else np.zeros(len(weight), int)
                for layer, weight in weights.items()
            }
            for draw in range(draws):
                orders = {
                    layer: shuffled(of_layer, np.random.default_rng((seed, number, draw, position)))
                    for position, (layer, of_layer) in enumerate(groups.items())
                }
                yield kind, draw, [(t, {layer: one[layer][orders[layer]] for layer in one}) for t, one in cells]
        factors = dict.fromkeys(
            f for factor in self.bench.target.edit.factors if factor > 0 for f in (factor, 1 / factor)
        )
        _, some = cells[0]
        yield "uniform", None, [(f, {layer: torch.full_like(one, f) for layer, one in some.items()}) for f in factors]
        yield "inverse", None, [(t, {layer: 1 / scale for layer, scale in one.items()}) for t, one in cells]

    def _choice(
        self, edit: Configuration, kind: str, draw: int | None, cells: list[tuple[float | None, Scales]]
    ) -> tuple[Configuration, Scales]:
        """The cell that is best on val, as a control."""
        best = 0
        if len(cells) > 1:
            rows = self.bench.positions["val"]
            best = best_index(*self.scores(torch.stack([self.network.all_logits(scales, rows) for _, scales in cells])))
        self.tried += len(cells)
        factor, scales = cells[best]
        flat = torch.cat(list(scales.values()))
        differing = int((flat != edit.scale).sum())
        control = blank(self.layer, self.name, edit, kind, draw)
        return replace(control, scale=flat, factor=factor, rows_differing=differing), scales

    def _as_measured(self, configs: Sequence[Configuration], logits: Tensor) -> Measured:
        bench = self.bench
        shared = {"concept_set": bench.target.edit.concept_set, "similarity_fn": bench.target.edit.similarity_fn}
        table = measure(configs, logits, bench.labels, bench.positions).assign(layer=self.layer, **shared)
        return Measured([one.config_id for one in configs], table, logits.argmax(-1).numpy().astype(np.uint8))
