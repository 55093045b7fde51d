"""All edits of a benchmark: which configurations, what each one does on every image set, and which is best on val."""

import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.faces.imageset import ImageSet
from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import label_ranks, metric_columns, probability_metrics
from emobench.networks.arms import Configuration, choose_layer, configurations, unit_similarity
from emobench.networks.loading import LoadedNetwork
from emobench.networks.sweep import sweep_logits
from emobench.networks.vggnet import VGGNet
from emobench.params import Edit
from emobench.vocabulary import CLASSES

CONFIGS_AT_ONCE = 64
EFFECT_IMAGES = 500


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
    edit: Edit, network: LoadedNetwork, imageset: ImageSet, layers: pd.DataFrame, units: pd.DataFrame
) -> Sweep:
    """Evaluates every configuration that params ask for, on all val and test images.

    Args:
        edit: which arms, on which layer, within which memory.
        network: the baseline.
        imageset: the images; metrics are taken on its evaluation rows.
        layers: layers.parquet.
        units: units.parquet.
    """
    model, sets = network.model, imageset.evaluation_rows()
    rows, layer = sets["val_test"], choose_layer(edit, layers)
    weight = model.get_submodule(layer).weight.detach().cpu()
    configs = configurations(edit, layer, weight, unit_similarity(edit, layer, units))
    print(f"edit: {len(configs)} configurations of {layer} on {len(rows)} images", file=sys.stderr)
    inputs, labels = network.transform(imageset.images[rows]), torch.from_numpy(imageset.labels[rows])
    scales = torch.stack([configuration.scale for configuration in configs])
    logits = sweep_logits(model, layer, inputs, scales, memory_gib=edit.memory_gib)
    positions = {name: np.searchsorted(rows, chosen) for name, chosen in sets.items()}
    table = measure(configs, logits, labels, positions)
    dissection = {"concept_set": edit.concept_set, "similarity_fn": edit.similarity_fn}
    val = positions["val"]
    some = val[np.linspace(0, len(val) - 1, min(EFFECT_IMAGES, len(val))).astype(int)]
    best = best_on_val(table)
    return Sweep(
        layer,
        [configuration.config_id for configuration in configs],
        rows,
        logits.argmax(-1).numpy().astype(np.uint8),
        table.assign(layer=layer, operation="rows", **dissection),
        unit_effects(model, layer, inputs[some], labels[some], memory_gib=edit.memory_gib),
        next((one for one in configs if one.config_id == best), configs[0]),
    )


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
    described = described.astype({"tau": float, "factor": float, "seed": float, "control_of": "str"})
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


def best_on_val(table: pd.DataFrame) -> str | None:
    """The config_id with the best accuracy on val among edits that aren't degenerate; None if there is none.

    Ties go to the lower NLL on val, then to the earlier configuration.
    """
    rows = table[(table["images"] == "val") & (table["arm"] != "baseline") & (table["status"] == "ok")]
    if rows.empty:
        return None
    return str(rows.sort_values(["accuracy", "nll"], ascending=[False, True], kind="stable")["config_id"].iloc[0])


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
