"""Edited networks as weights: any configuration of configs.parquet, rebuilt and checked against its predictions."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.device import pick_device
from emobench.edits.arms import configurations
from emobench.edits.experiment import edit_target
from emobench.edits.family import family
from emobench.edits.results_on_disk import read_ids, read_predictions
from emobench.errors import UserError, unknown_name
from emobench.faces.imageset import ImageSet, load_imageset
from emobench.files import replacing
from emobench.functional.edits import edited_state
from emobench.layout import Layout
from emobench.networks.network import Network
from emobench.networks.sources import load_network, save_weights, with_weights
from emobench.own_code import short_name
from emobench.params import Params
from emobench.settings.edit import ARM_NAMES
from emobench.stored import existing
from emobench.stored_tables import read_table
from emobench.vocabulary.card import load_vocabulary
from emobench.weights import read_state

NAMED = ("baseline", "chosen", "paper")
Rows = dict[str, tuple[Tensor, Tensor | None]]
"""What an edit does: layer -> its scale (units,), and its new bias (units,) or None."""
NEAR_TIE = 1e-3
"""Two orders of adding the same numbers may swap classes whose logits differ by less."""


@dataclasses.dataclass(frozen=True)
class Export:
    """What was written: the configuration, and on how many images its answers were checked (0: not at all).

    ``near_ties``: images on which the two classes with the highest logits changed places by rounding.
    """

    config_id: str
    layer: str
    images: int = 0
    near_ties: int = 0


def export_network(params: Params, layout: Layout, name: str, path: Path, *, check: bool = True) -> Export:
    """Writes the weights of an edited network as safetensors.

    Args:
        params: the benchmark; the edits must be the ones that configs.parquet was made with.
        layout: its files.
        name: a config_id, or ``baseline``, ``chosen`` (best on val) or ``paper`` (the published edit).
        path: where to; an existing file is replaced.
        check: whether the written network is loaded and must answer every val and test image as predictions.npy says.

    Raises:
        UserError: an unknown configuration, a control, one that params no longer describe, another suffix than
            .safetensors, or answers that differ.
    """
    if path.suffix != ".safetensors":
        raise UserError(f"{path} is no .safetensors file; expected a path that ends so")
    configs = _table(layout, "configs")
    config_id = _config_id(configs, params, name)
    row = configs[configs["config_id"] == config_id].iloc[0]
    imageset = load_imageset(layout.data)
    network = load_network(layout.models / "network").to(pick_device(params.device))
    state = edited_weights(network, _rebuilt(params, layout, network, imageset, row.to_dict()))
    done = Export(config_id, row["layer"])
    with replacing(path) as temporary:
        save_weights(state, temporary)
        return _checked(params, layout, network, imageset, done, temporary) if check else done


def edited_weights(network: Network, rows: Rows) -> dict[str, Tensor]:
    """The network's state dict, on the CPU, with the rows of some layers scaled."""
    state = {name: value.cpu() for name, value in network.model.state_dict().items()}
    for layer, (scale, shift) in rows.items():
        card = network.card.layer(layer)
        state = edited_state(state, card.weight, scale.cpu(), shift, bias=card.bias)
    return state


def _table(layout: Layout, name: str, **made_from: str) -> pd.DataFrame:
    return read_table(layout.artifacts / f"{name}.parquet", made_from=made_from)


def _config_id(configs: pd.DataFrame, params: Params, name: str) -> str:
    """The config_id that a name stands for."""
    known = list(dict.fromkeys(configs["config_id"]))
    if name in known:
        return name
    if name not in NAMED:
        close = [one for one in known if name in one][:10]
        shown = dict.fromkeys([*NAMED, *(close or known[:10]), "... (configs.parquet)"])
        raise unknown_name("configuration", name, shown)
    members = family(configs, params.edit.paper)
    found = members.loc[members["selected_on"] == ("paper" if name == "paper" else "val"), "config_id"]
    if found.empty:
        raise UserError(f"configs.parquet has no {name} edit; expected a config_id or one of {', '.join(NAMED)}")
    return str(found.iloc[0])


def _rebuilt(params: Params, layout: Layout, network: Network, imageset: ImageSet, row: dict[str, Any]) -> Rows:
    """What a configuration does, from the arm that made it."""
    if pd.notna(row["control_of"]):
        raise UserError(f"{row['config_id']} is a control of {row['control_of']}; expected an edit")
    if searched := _searched(layout, row["config_id"]):
        return searched
    asked = {"layer": row["layer"], "concept_set": row["concept_set"], "similarity_fn": row["similarity_fn"]}
    arms = [arm for arm in (*params.edit.arms, *ARM_NAMES) if short_name(arm) == row["arm"]][:1]
    edit = dataclasses.replace(params.edit, arms=arms, **asked)
    units, effects = (_table(layout, name, network=network.card.weights) for name in ("units", "unit_effects"))
    concepts = load_vocabulary(layout.data).speaks(edit.concept_set)
    target = edit_target(edit, network, imageset, row["layer"], units, effects, concepts)
    for one in configurations(target):
        if one.config_id == row["config_id"]:
            return {row["layer"]: (one.scale, one.shift)}
    raise UserError(
        f"params.yaml describes no configuration {row['config_id']} any more; run dvc repro edit, or go back to the "
        "params.yaml that it was made with"
    )


def _searched(layout: Layout, config_id: str) -> Rows:
    """What a configuration that a search found does, from the scales that were kept; empty if it is no such."""
    scales = read_state(existing(layout.models / "search_scales.safetensors", "edit"), "scales")
    named = [(*name.rpartition("/")[::2], scale) for name, scale in scales.items()]
    return {layer: (scale, None) for name, layer, scale in named if name == config_id}


def _checked(params: Params, layout: Layout, network: Network, imageset: ImageSet, done: Export, path: Path) -> Export:
    """Loads what was written and compares its answers with predictions.npy.

    Raises:
        UserError: an answer differs though its logits are no near tie.
    """
    ids = read_ids(layout.artifacts, imageset)
    # Every answer is compared: which ones differ says more than that the array is another one.
    preds = read_predictions(layout.artifacts, dataclasses.replace(ids, digests={}))
    wanted = torch.from_numpy(preds[ids.config_ids.index(done.config_id)].astype(np.int64))
    edited = with_weights(network, read_state(path, "params")).to(pick_device(params.device))
    logits = edited.logits(imageset.images, np.array(ids.image_rows))
    differing = logits.argmax(-1) != wanted
    gap = logits.max(-1).values - logits.gather(-1, wanted[:, None]).squeeze(-1)
    wrong = int((gap > NEAR_TIE * logits.abs().max(-1).values.clamp(min=1)).sum())
    if wrong:
        raise UserError(
            f"{done.config_id}: the exported network answers {wrong} of {len(wanted)} images otherwise than "
            "predictions.npy; the weights or the unit table have changed since: run dvc repro edit"
        )
    return dataclasses.replace(done, images=len(wanted), near_ties=int(differing.sum()))
