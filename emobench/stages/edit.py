"""Stage edit: every configuration measured on every image set, each unit left out once, and the best edit's weights."""

import shutil

from emobench.device import pick_device
from emobench.edits.contract import seal
from emobench.edits.experiment import Sweep, sweep_edits
from emobench.edits.exporting import edited_weights
from emobench.edits.layer_choice import choose_layer
from emobench.edits.results_on_disk import IDS, PredictionIds, as_json, noted_digests
from emobench.edits.search import run_search
from emobench.faces.imageset import ImageSet, load_imageset
from emobench.files import write_array, write_parquet, write_sealed
from emobench.layout import Layout
from emobench.networks.sources import load_network, save_weights
from emobench.params import Params
from emobench.stored_tables import read_table
from emobench.sweeps.runs import workers_ready
from emobench.vocabulary.card import load_vocabulary


def run(params: Params, layout: Layout) -> None:
    """Writes the configurations with metrics and predictions, unit effects, what was searched, and the best on val."""
    device, edit = pick_device(params.device), params.edit
    imageset = load_imageset(layout.data)
    seal(params, layout, imageset)
    network = load_network(layout.models / "network").to(device)
    concepts = load_vocabulary(layout.data).speaks(edit.concept_set)
    made = {"images": imageset.digest(), "network": network.card.weights}
    layers, units = (read_table(layout.artifacts / f"{name}.parquet", made_from=made) for name in ("layers", "units"))
    layer, work = choose_layer(edit, layers, network.card), layout.partial_for("edit", params.name)
    augment = params.network.train.augment if params.network.source == "train" else None
    options = {"jobs": edit.jobs, "scheduler": edit.scheduler or None, "work": work}
    with workers_ready(edit.jobs if device == "cpu" and edit.asked and not edit.scheduler else 1):
        found, tried = run_search(edit, network, imageset, layer, units, seed=params.seed, augment=augment)
        sweep = sweep_edits(
            edit, network, imageset, layers, units, concepts, seed=params.seed, workers=options, found=found
        )
    write_parquet(layout.artifacts / "configs.parquet", sweep.measured.table, made)
    write_array(layout.artifacts / "predictions.npy", sweep.measured.predictions)
    write_array(layout.artifacts / "family_logits.npy", sweep.logits)
    write_sealed(layout.artifacts / IDS, as_json(ids_of(sweep, imageset)))
    write_parquet(layout.artifacts / "unit_effects.parquet", sweep.effects, made)
    write_parquet(layout.artifacts / "search.parquet", tried, made)
    scales = {f"{search.config_id}/{name}": scale for search in found for name, scale in search.scales.items()}
    save_weights(scales, layout.models / "search_scales.safetensors")
    edited = edited_weights(network, {sweep.layer: (sweep.chosen.scale, sweep.chosen.shift)})
    save_weights(edited, layout.models / "edited.safetensors")
    shutil.rmtree(work, ignore_errors=True)


def ids_of(sweep: Sweep, imageset: ImageSet) -> PredictionIds:
    """What the rows and columns of the written arrays are."""
    names, rows = sweep.measured.config_ids, sweep.rows.tolist()
    digests = noted_digests(names, rows, sweep.measured.predictions, sweep.logit_ids, sweep.logits)
    return PredictionIds(names, rows, sweep.logit_ids, sweep.evaluated, imageset.digest(), digests)
