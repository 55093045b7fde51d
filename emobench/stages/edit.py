"""Stage edit: every configuration measured on every image set, each unit left out once, and the best edit's weights."""

import shutil

import pandas as pd

from emobench.device import pick_device
from emobench.edits.experiment import sweep_edits
from emobench.edits.exporting import edited_weights
from emobench.edits.search import run_search
from emobench.edits.target import choose_layer
from emobench.faces.imageset import load_imageset
from emobench.files import write_array, write_json, write_parquet
from emobench.layout import Layout
from emobench.networks.sources import load_network, save_weights
from emobench.params import Params
from emobench.vocabulary.card import load_vocabulary


def run(params: Params, layout: Layout) -> None:
    """Writes the configurations with metrics and predictions, unit effects, what was searched, and the best on val."""
    imageset, edit = load_imageset(layout.data), params.edit
    network = load_network(layout.models / "network").to(pick_device(params.device))
    concepts = load_vocabulary(layout.data).speaks(edit.concept_set)
    layers, units = (pd.read_parquet(layout.artifacts / f"{name}.parquet") for name in ("layers", "units"))
    layer, work = choose_layer(edit, layers, network.card), layout.partial_for("edit", params.name)
    found, tried = run_search(edit, network, imageset, layer, units, seed=params.seed)
    options = {"jobs": edit.jobs, "scheduler": edit.scheduler or None, "work": work}
    sweep = sweep_edits(
        edit, network, imageset, layers, units, concepts, seed=params.seed, workers=options, found=found
    )
    write_parquet(layout.artifacts / "configs.parquet", sweep.measured.table)
    write_array(layout.artifacts / "predictions.npy", sweep.measured.predictions)
    write_array(layout.artifacts / "family_logits.npy", sweep.logits)
    ids = {"config_ids": sweep.measured.config_ids, "logit_ids": sweep.logit_ids, "evaluated": sweep.evaluated}
    ids |= {"image_rows": sweep.rows.tolist(), "images_digest": imageset.digest()}
    write_json(layout.artifacts / "prediction_ids.json", ids)
    write_parquet(layout.artifacts / "unit_effects.parquet", sweep.effects)
    write_parquet(layout.artifacts / "search.parquet", tried)
    scales = {f"{search.config_id}/{name}": scale for search in found for name, scale in search.scales.items()}
    save_weights(scales, layout.models / "search_scales.safetensors")
    edited = edited_weights(network, {sweep.layer: (sweep.chosen.scale, sweep.chosen.shift)})
    save_weights(edited, layout.models / "edited.safetensors")
    shutil.rmtree(work, ignore_errors=True)
