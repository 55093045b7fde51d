"""All edits of a benchmark: which configurations, what each one does on every image set, and which is best on val."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.edits.arms import configurations
from emobench.edits.family import PAPER_ARMS
from emobench.edits.found import Found
from emobench.edits.joint import measure_joint
from emobench.edits.layer_choice import choose_layer
from emobench.edits.measuring import ALONE, CONFIGS_AT_ONCE, Measured, bench_of, joined
from emobench.edits.target import Configuration, Target, layer_bias, layer_weight, unit_table
from emobench.edits.trial import try_edits
from emobench.faces.imageset import ImageSet
from emobench.functional.classification import label_ranks, probability_metrics
from emobench.networks.network import Network, Pictures
from emobench.networks.recorder import Recorder
from emobench.settings.edit import Edit
from emobench.sweeps.sweep import sweep_logits

EFFECT_IMAGES = 500
MEAN_IMAGES = 2000
MEAN_BATCH = 256


@dataclass(frozen=True)
class Sweep:
    """What a sweep found: all configurations measured, and what each unit of some layers does.

    ``rows`` are the images' row numbers in the image set, ``chosen`` is the configuration that is best on val.
    ``logits`` float32 (members, images, classes) are those of ``logit_ids``: the baseline and the judged edits.
    ``evaluated`` is how many configurations were looked at in all, on val or everywhere.
    """

    layer: str
    rows: np.ndarray
    measured: Measured
    effects: pd.DataFrame
    chosen: Configuration
    logit_ids: list[str]
    logits: np.ndarray
    evaluated: int


def sweep_edits(
    edit: Edit, network: Network, imageset: ImageSet, layers: pd.DataFrame, units: pd.DataFrame,
    concepts: Mapping[str, Sequence[str]], *, seed: int, found: Sequence[Found] = (),
    workers: Mapping[str, Any] = ALONE,
) -> Sweep:  # fmt: skip
    """Evaluates every configuration that params ask for, on all val and test images, and the controls of the judged.

    Args:
        edit: which arms, on which layer, within which memory.
        network: the baseline.
        imageset: the images; metrics are taken on its evaluation rows.
        layers: layers.parquet.
        units: units.parquet.
        concepts: the classes that each concept speaks for.
        seed: of the random controls.
        found: what a search found (see emobench.edits.search), in the edited layer or in several together.
        workers: who sweeps (jobs, scheduler, work; see sweep_logits).
    """
    layer = choose_layer(edit, layers, network.card)
    effects = leave_one_out(edit, network, imageset, layer, workers)
    target = edit_target(edit, network, imageset, layer, units, effects, concepts)
    searched = [one.configuration() for one in found if len(one.scales) == 1]
    configs, rows = [*configurations(target), *searched], imageset.evaluation_rows()["val_test"]
    print(f"edit: {len(configs)} configurations of {layer} on {len(rows)} images", file=sys.stderr)
    bench = bench_of(network, imageset, target, workers)
    trial = try_edits(bench, configs, seed=seed)
    parts, judged, logits, evaluated = trial.parts, trial.judged, trial.logits, trial.evaluated
    answers = dict(zip(judged, logits.argmax(-1).numpy(), strict=True))
    joint = measure_joint(bench, [one for one in found if len(one.scales) > 1], seed=seed, answers=answers)
    if joint is not None:
        parts.append(joint.measured)
        judged, logits = [*judged, *joint.judged], torch.cat([logits, joint.logits])
        evaluated += joint.evaluated
    return Sweep(layer, rows, joined(parts), effects, trial.chosen, judged, logits.numpy(), evaluated)


def edit_target(
    edit: Edit, network: Network, imageset: ImageSet, layer: str, units: pd.DataFrame, effects: pd.DataFrame,
    concepts: Mapping[str, Sequence[str]],
) -> Target:  # fmt: skip
    """The layer with all that arms select by; unit means are taken only where an operation needs them."""
    weight, bias = layer_weight(network, layer), layer_bias(network, layer)
    means = "mean" in edit.operations and not set(edit.arms) <= PAPER_ARMS
    if means and network.card.layer(layer).bias is None:
        print(
            f"edit: {layer} has no bias, so that no weights make it put out a mean: without that operation",
            file=sys.stderr,
        )
        means = False
    mean = mean_outputs(network, layer, imageset) if means else None
    own = effects[effects["layer"] == layer].reset_index(drop=True)
    table = unit_table(edit, layer, units)
    return Target(edit, layer, weight, bias, mean, table, own, network.classes, concepts)


@torch.no_grad()
def mean_outputs(network: Network, layer: str, imageset: ImageSet) -> Tensor:
    """Each unit's mean output (units,), over space or tokens too, on up to MEAN_IMAGES kept train images.

    Taken before BatchNorm and ReLU, as activations are recorded, but whatever the recording's pooling is.
    """
    rows = _some(imageset.rows("train"), MEAN_IMAGES)
    recorder = Recorder(network, [layer], network.inputs(imageset.images[rows[:2]]))
    total = torch.zeros(network.card.layer(layer).units, dtype=torch.float64)
    for part in np.array_split(rows, math.ceil(len(rows) / MEAN_BATCH)):
        _, units = recorder(network.inputs(imageset.images[part]))
        total += units[layer].double().sum(0).cpu()
    return (total / len(rows)).float()


def leave_one_out(
    edit: Edit, network: Network, imageset: ImageSet, layer: str, workers: Mapping[str, Any] = ALONE
) -> pd.DataFrame:
    """unit_effects of the edited layer and the linear ones quick to edit, on EFFECT_IMAGES val images at most."""
    rows = _some(imageset.rows("val"), EFFECT_IMAGES)
    inputs = network.given(imageset.images, rows, imageset.digest())
    labels = torch.from_numpy(imageset.labels[rows])
    quick = [card.name for card in network.card.editable if (card.way, card.kind) == ("quick", "linear")]
    layers = dict.fromkeys([*quick, layer])
    options = {"memory_gib": edit.memory_gib, **workers}
    tables = [unit_effects(network, one, inputs, labels, **options) for one in layers]
    return pd.concat(tables, ignore_index=True)


def unit_effects(
    network: Network, layer: str, inputs: Tensor | Pictures, labels: Tensor, **options: Any
) -> pd.DataFrame:
    """What each unit of a layer does: the change of accuracy and NLL when its row is scaled by 0.

    Args:
        network: the network.
        layer: the layer.
        inputs: what it takes, (images, ...).
        labels: (images,).
        **options: of sweep_logits, memory_gib at least.

    Returns:
        A row a unit: layer, unit, images (how many), delta_accuracy, delta_nll.
    """
    units = network.card.layer(layer).units
    scales = torch.cat([torch.ones(1, units), 1 - torch.eye(units)])
    logits = sweep_logits(network, layer, inputs, scales, **options)
    parts = logits.split(CONFIGS_AT_ONCE)
    accuracy = torch.cat([(label_ranks(part, labels) == 0).double().mean(-1) for part in parts])
    nll = torch.cat([probability_metrics(part, labels)["nll"] for part in parts])
    return pd.DataFrame(
        {
            "layer": layer,
            "unit": range(units),
            "images": len(labels),
            "delta_accuracy": (accuracy[1:] - accuracy[0]).numpy(),
            "delta_nll": (nll[1:] - nll[0]).numpy(),
        }
    )


def _some(rows: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of the rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
