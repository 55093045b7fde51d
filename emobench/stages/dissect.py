"""Stage dissect: what every unit reacts to, which layers can be read, and how true the descriptions are."""

import pandas as pd

from emobench.concepts.embeddings import load_concept_scores
from emobench.faces.imageset import load_imageset
from emobench.files import write_csv, write_json, write_parquet
from emobench.layout import Layout
from emobench.networks.dissecting import dissect_networks, evidence, side_by_side
from emobench.params import Params


def run(params: Params, layout: Layout) -> None:
    """Writes the unit tables (trained and untrained), the layer table, a plot of it, metrics and the evidence."""
    imageset, folder = load_imageset(layout.data), layout.artifacts
    recordings = {"trained": folder / "activations"}
    if params.record.untrained:
        recordings["untrained"] = folder / "activations_untrained"
    probe = imageset.probe_rows(params.dissect.probe)
    sets = load_concept_scores(folder, imageset.digest(), probe, params.concept_sets)
    units, layers = dissect_networks(params.dissect, imageset, sets, recordings, params.seed)
    table = side_by_side(layers)
    write_parquet(folder / "units.parquet", units["trained"])
    write_parquet(folder / "units_untrained.parquet", units.get("untrained", units["trained"].head(0)))
    write_parquet(folder / "layers.parquet", table)
    write_csv(layout.reports / "interpretability.csv", table)
    shown = table[table.similarity_fn == params.edit.similarity_fn]
    metrics = {
        name: group.set_index("layer")[["prop_interp", "overall_acc", "overall_chance"]].to_dict("index")
        for name, group in shown.groupby("concept_set")
    }
    write_json(layout.reports / "dissect.json", {"limited": int(params.data.limit > 0)} | metrics)
    annotations = pd.read_parquet(layout.data / "annotations.parquet").drop(columns="image_id")
    chosen = {name: table[table.similarity_fn == params.edit.similarity_fn] for name, table in units.items()}
    options = {"concept_set": params.edit.concept_set, "seed": params.seed}
    proof = evidence(chosen, imageset, annotations, recordings, **options)
    write_json(layout.reports / "proof.json", {"evidence": params.annotate.source} | proof)
