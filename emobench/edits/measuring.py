"""Edits of a layer measured: all metrics on every image set, or accuracy and NLL on val alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.edits.family import PROTOCOLS, corrected_tests, may_improve
from emobench.edits.target import Configuration, Target, stacked
from emobench.faces.imageset import ImageSet
from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import averaged, averaged_probabilities, image_scores, probability_scores
from emobench.networks.network import Network, Pictures
from emobench.sweeps.sweep import sweep_logits, sweep_outcomes

CONFIGS_AT_ONCE = 64
HELD_SHARE = 0.125
"""Which share of the memory those who sweep may hold themselves, scales or logits; a sweep has the rest."""
ALONE: Mapping[str, Any] = MappingProxyType({})
"""Keywords of a sweep that runs in this process and keeps no finished work."""


@dataclass(frozen=True)
class Measured:
    """Some configurations: their names, their table (see measure), their predictions (configs, images) uint8."""

    config_ids: list[str]
    table: pd.DataFrame
    predictions: np.ndarray


@dataclass(frozen=True)
class Bench:
    """A layer of a network, the images that edits are measured on, and how sweeps run.

    ``inputs``: what the network takes, and ``labels`` (images,); ``positions``: image set -> positions among these
    images; ``workers``: who sweeps (jobs, scheduler, work; see sweep_logits).
    """

    network: Network
    target: Target
    inputs: Tensor | Pictures
    labels: Tensor
    positions: dict[str, np.ndarray]
    workers: Mapping[str, Any]

    @property
    def memory_gib(self) -> float:
        """Bound of the memory of everything."""
        return self.target.edit.memory_gib

    @property
    def held_bytes(self) -> float:
        """What may be held while a sweep runs."""
        return self.memory_gib * 2**30 * HELD_SHARE

    @property
    def _sweeping(self) -> dict[str, Any]:
        """Keywords of every sweep."""
        return {"memory_gib": self.memory_gib * (1 - HELD_SHARE), **self.workers}

    def logits(self, configs: Sequence[Configuration]) -> Tensor:
        """Logits (configs, images, classes)."""
        edits = stacked(configs, self.target.bias)
        return sweep_logits(self.network, self.target.layer, self.inputs, *edits, **self._sweeping)

    def on_val(self, configs: Sequence[Configuration]) -> tuple[np.ndarray, np.ndarray]:
        """Accuracy and NLL (configs,) on val."""
        val = torch.from_numpy(self.positions["val"])
        inputs = self.inputs.taken(val) if isinstance(self.inputs, Pictures) else self.inputs[val]
        labels, edits = self.labels[val], stacked(configs, self.target.bias)
        found = sweep_outcomes(self.network, self.target.layer, inputs, labels, *edits, **self._sweeping)
        return (found.predictions == labels.numpy()).mean(-1), found.nll

    def right(self, predictions: np.ndarray) -> Tensor:
        """How many answers are right on each image set that edits are judged on: (configs, sets) int64.

        Args:
            predictions: (configs, images).
        """
        right = torch.from_numpy(predictions) == self.labels
        return torch.stack([right[:, at].sum(1) for at in self._judged], dim=1)

    def open_sets(self, answers: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """On which of the judged sets each edit can still be told to improve (see family.may_improve): (sets,) bool.

        Args:
            answers: predictions (images,) of the ``baseline``, and by config_id of all edits of the family that are
                measured so far.
        """
        right = {name: torch.from_numpy(predictions) == self.labels for name, predictions in answers.items()}
        before = right.pop("baseline")
        tests = [corrected_tests(before[at], {name: one[at] for name, one in right.items()}) for at in self._judged]
        return {name: torch.tensor([may_improve(*some[name]) for some in tests]) for name in right}

    @property
    def _judged(self) -> list[np.ndarray]:
        """Positions of the images of each set that edits are judged on."""
        return [self.positions[name] for name in PROTOCOLS if len(self.positions[name])]

    def measured(self, configs: Sequence[Configuration], logits: Tensor) -> Measured:
        """All metrics and predictions of some configurations, from their logits."""
        edit = self.target.edit
        shared = {"layer": self.target.layer, "concept_set": edit.concept_set, "similarity_fn": edit.similarity_fn}
        table = measure(configs, logits, self.labels, self.positions, self.network.classes).assign(**shared)
        return Measured([one.config_id for one in configs], table, logits.argmax(-1).numpy().astype(np.uint8))


def bench_of(network: Network, imageset: ImageSet, target: Target, workers: Mapping[str, Any] = ALONE) -> Bench:
    """The target's layer with all val and test images; metrics are taken on the evaluation rows."""
    sets = imageset.evaluation_rows()
    rows = sets["val_test"]
    inputs, labels = network.given(imageset.images, rows, imageset.digest()), torch.from_numpy(imageset.labels[rows])
    positions = {name: np.searchsorted(rows, at) for name, at in sets.items()}
    return Bench(network, target, inputs, labels, positions, workers)


def joined(parts: Sequence[Measured]) -> Measured:
    """Several parts as one, in their order."""
    names = [name for part in parts for name in part.config_ids]
    tables = pd.concat([part.table for part in parts], ignore_index=True)
    return Measured(names, tables, np.concatenate([part.predictions for part in parts]))


def picked(whole: Measured, config_ids: Sequence[str]) -> Measured:
    """Some of the configurations, in the order in which they are named."""
    place = {name: index for index, name in enumerate(whole.config_ids)}
    order = {name: index for index, name in enumerate(config_ids)}
    table = whole.table[whole.table["config_id"].isin(order)]
    table = table.sort_values("config_id", key=lambda ids: ids.map(order), kind="stable", ignore_index=True)
    return Measured(list(config_ids), table, whole.predictions[[place[name] for name in config_ids]])


def measure(
    configs: Sequence[Configuration], logits: Tensor, labels: Tensor, positions: dict[str, np.ndarray],
    classes: Sequence[str],
) -> pd.DataFrame:  # fmt: skip
    """The metrics of every configuration on every image set.

    Args:
        configs: the configurations.
        logits: (configs, images, classes).
        labels: (images,).
        positions: image set -> positions among the images; ``val`` is what the temperatures are fitted on.
        classes: their names.

    Returns:
        A row for each configuration and image set: config_id, images, what describes the configuration, the metrics,
        temperature, and nll_t and ece_t, measured after dividing the logits by it.
    """
    described = pd.DataFrame([configuration.columns() for configuration in configs])
    numbers = dict.fromkeys(["tau", "factor", "seed", "rows_differing"], float)
    described = described.astype({**numbers, "control_of": "str"})
    val = torch.from_numpy(positions["val"])
    temperature = torch.cat([fit_temperature(some[:, val], labels[val]) for some in logits.split(CONFIGS_AT_ONCE)])
    measured = _in_parts(logits, labels, temperature, {name: at for name, at in positions.items() if len(at)}, classes)
    tables = [
        pd.concat([described.assign(images=images), pd.DataFrame(columns)], axis=1)
        for images, columns in measured.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    order = {configuration.config_id: index for index, configuration in enumerate(configs)}
    table = table.sort_values("config_id", key=lambda ids: ids.map(order), kind="stable", ignore_index=True)
    return table[["config_id", "images", *table.columns.drop(["config_id", "images"])]]


def _in_parts(
    logits: Tensor, labels: Tensor, temperature: Tensor, positions: Mapping[str, np.ndarray], classes: Sequence[str]
) -> dict[str, dict[str, np.ndarray]]:
    """All metrics on each image set, a few configurations at a time: probabilities in double precision take room.

    Args:
        logits: (configs, images, classes).
        labels: (images,).
        temperature: (configs,).
        positions: image set -> positions of its images.
        classes: their names.
    """
    parts: dict[str, list[dict[str, Tensor]]] = {name: [] for name in positions}
    for every, degrees in zip(logits.split(CONFIGS_AT_ONCE), temperature.split(CONFIGS_AT_ONCE), strict=True):
        raw, cooled = image_scores(every, labels), probability_scores(every / degrees[:, None, None], labels)
        for name, at in positions.items():
            own, scaled = ({key: one[:, at] for key, one in scores.items()} for scores in (raw, cooled))
            calibrated = averaged_probabilities(scaled)
            after = {"temperature": degrees, "nll_t": calibrated["nll"], "ece_t": calibrated["ece"]}
            parts[name].append(averaged(own, labels[at], classes) | after)
    return {
        name: {key: torch.cat([part[key] for part in some]).numpy() for key in some[0]} for name, some in parts.items()
    }
