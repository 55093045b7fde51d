"""All edits of a benchmark: which configurations, what each one does on every image set, and which is best on val."""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.faces.imageset import ImageSet
from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import label_ranks, metric_columns, probability_metrics
from emobench.networks.arms import configurations
from emobench.networks.family import best_on_val
from emobench.networks.loading import LoadedNetwork
from emobench.networks.sweep import sweep_logits
from emobench.networks.target import Configuration, Target, choose_layer, stacked, unit_table
from emobench.networks.vggnet import VGGNet
from emobench.params import Edit
from emobench.vocabulary import CLASSES

CONFIGS_AT_ONCE = 64
EFFECT_IMAGES = 500
MEAN_IMAGES = 2000
MEAN_BATCH = 256


@dataclass(frozen=True)
class Sweep:
    """What a sweep found: the configurations' table, predictions (configs, images) uint8 and unit effects.

    ``rows`` are the images' row numbers in the image set, ``chosen`` is the configuration that is best on val.
    """

    layer: str
    config_ids: list[str]
    rows: np.ndarray
    predictions: np.ndarray
    table: pd.DataFrame
    effects: pd.DataFrame
    chosen: Configuration


def sweep_edits(
    edit: Edit, network: LoadedNetwork, imageset: ImageSet, layers: pd.DataFrame, units: pd.DataFrame,
    *, seed: int, extra: Iterable[Configuration] = (),
) -> Sweep:  # fmt: skip
    """Evaluates every configuration that params ask for, on all val and test images.

    Args:
        edit: which arms, on which layer, within which memory.
        network: the baseline.
        imageset: the images; metrics are taken on its evaluation rows.
        layers: layers.parquet.
        units: units.parquet.
        seed: of the random controls.
        extra: configurations of further arms for the same layer, e.g. found by a search.
    """
    sets = imageset.evaluation_rows()
    rows, layer = sets["val_test"], choose_layer(edit, layers)
    effects = leave_one_out(edit, network, imageset, layer)
    target = edit_target(edit, network, imageset, layer, units, effects)
    configs = [*configurations(target), *extra]
    print(f"edit: {len(configs)} configurations of {layer} on {len(rows)} images", file=sys.stderr)
    inputs, labels = network.transform(imageset.images[rows]), torch.from_numpy(imageset.labels[rows])
    logits = sweep_logits(network.model, layer, inputs, *stacked(configs, target.bias), memory_gib=edit.memory_gib)
    positions = {name: np.searchsorted(rows, chosen) for name, chosen in sets.items()}
    table = measure(configs, logits, labels, positions)
    best = best_on_val(table)
    return Sweep(
        layer,
        [configuration.config_id for configuration in configs],
        rows,
        logits.argmax(-1).numpy().astype(np.uint8),
        table.assign(layer=layer, concept_set=edit.concept_set, similarity_fn=edit.similarity_fn),
        effects,
        next((one for one in configs if one.config_id == best), configs[0]),
    )


def edit_target(
    edit: Edit, network: LoadedNetwork, imageset: ImageSet, layer: str, units: pd.DataFrame, effects: pd.DataFrame
) -> Target:
    """The layer with all that arms select by; unit means are taken only where an operation needs them."""
    module = network.model.get_submodule(layer)
    weight, bias = module.weight.detach().cpu(), module.bias.detach().cpu()
    mean = mean_outputs(network, layer, imageset) if "mean" in edit.operations else None
    own = effects[effects["layer"] == layer].reset_index(drop=True)
    return Target(edit, layer, weight, bias, mean, unit_table(edit, layer, units), own)


@torch.no_grad()
def mean_outputs(network: LoadedNetwork, layer: str, imageset: ImageSet) -> Tensor:
    """Each unit's mean output (units,), over space too, on up to MEAN_IMAGES kept train images, evenly spaced.

    Taken before BatchNorm and ReLU, as activations are recorded, but whatever the recording's pooling is.
    """
    rows, module = _some(imageset.rows("train"), MEAN_IMAGES), network.model.get_submodule(layer)
    total = torch.zeros(len(module.bias), dtype=torch.float64)
    for part in np.array_split(rows, math.ceil(len(rows) / MEAN_BATCH)):
        inputs = network.transform(imageset.images[part]).to(module.bias.device)
        outputs = module(network.model.inputs_of(layer, inputs)).double()
        total += outputs.reshape(len(part), len(total), -1).mean(-1).sum(0).cpu()
    return (total / len(rows)).float()


def measure(
    configs: list[Configuration], logits: Tensor, labels: Tensor, positions: dict[str, np.ndarray]
) -> pd.DataFrame:
    """The metrics of every configuration on every image set.

    Args:
        configs: the configurations.
        logits: (configs, images, classes).
        labels: (images,).
        positions: image set -> positions among the images; ``val`` is what the temperatures are fitted on.

    Returns:
        A row for each configuration and image set: config_id, images, what describes the configuration, the metrics,
        temperature, and nll_t and ece_t, measured after dividing the logits by it.
    """
    described = pd.DataFrame([configuration.columns() for configuration in configs])
    numbers = dict.fromkeys(["tau", "factor", "seed", "rows_differing"], float)
    described = described.astype({**numbers, "control_of": "str"})
    val = torch.from_numpy(positions["val"])
    temperature = torch.tensor([fit_temperature(one[val], labels[val]) for one in logits], dtype=torch.float64)
    tables = []
    for images, at in positions.items():
        if len(at):
            columns = _in_parts(logits[:, at], labels[at], temperature)
            tables.append(pd.concat([described.assign(images=images), pd.DataFrame(columns)], axis=1))
    table = pd.concat(tables, ignore_index=True)
    order = {configuration.config_id: index for index, configuration in enumerate(configs)}
    table = table.sort_values("config_id", key=lambda ids: ids.map(order), kind="stable", ignore_index=True)
    return table[["config_id", "images", *table.columns.drop(["config_id", "images"])]]


def _in_parts(logits: Tensor, labels: Tensor, temperature: Tensor) -> dict[str, np.ndarray]:
    """All metrics, a few configurations at a time: probabilities in double precision take room."""
    parts = []
    for some, degrees in zip(logits.split(CONFIGS_AT_ONCE), temperature.split(CONFIGS_AT_ONCE), strict=True):
        scaled = probability_metrics(some / degrees[:, None, None], labels)
        calibrated = {"temperature": degrees, "nll_t": scaled["nll"], "ece_t": scaled["ece"]}
        parts.append(metric_columns(some, labels, CLASSES) | calibrated)
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def leave_one_out(edit: Edit, network: LoadedNetwork, imageset: ImageSet, layer: str) -> pd.DataFrame:
    """unit_effects of lin1, lin2 and the edited layer on up to EFFECT_IMAGES kept val images, evenly spaced."""
    rows = _some(imageset.rows("val"), EFFECT_IMAGES)
    inputs, labels = network.transform(imageset.images[rows]), torch.from_numpy(imageset.labels[rows])
    layers = dict.fromkeys(["lin1", "lin2", layer])
    tables = [unit_effects(network.model, one, inputs, labels, memory_gib=edit.memory_gib) for one in layers]
    return pd.concat(tables, ignore_index=True)


def unit_effects(model: VGGNet, layer: str, inputs: Tensor, labels: Tensor, *, memory_gib: float) -> pd.DataFrame:
    """What each unit of a layer does: the change of accuracy and NLL when its row is scaled by 0.

    Args:
        model: in evaluation mode.
        layer: the layer.
        inputs: (images, 1, 40, 40).
        labels: (images,).
        memory_gib: bound of the memory.

    Returns:
        A row a unit: layer, unit, images (how many), delta_accuracy, delta_nll.
    """
    units = len(model.get_submodule(layer).weight)
    scales = torch.cat([torch.ones(1, units), 1 - torch.eye(units)])
    logits = sweep_logits(model, layer, inputs, scales, memory_gib=memory_gib)
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
