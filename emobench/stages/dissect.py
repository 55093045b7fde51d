"""Stage dissect: what every unit reacts to, which layers can be read, and how true the descriptions are."""

import pandas as pd
import torch

from emobench.concepts.embeddings import load_concept_scores
from emobench.faces.imageset import load_imageset
from emobench.files import write_csv, write_json, write_parquet
from emobench.functional.dissection import dissect_layer, similarity_function
from emobench.functional.similarity import top_images
from emobench.layout import Layout
from emobench.networks.evidence import description_evidence, own_class_units
from emobench.networks.recording import load_activations
from emobench.params import LAYERS, Params
from emobench.progress import progress
from emobench.vocabulary import CLASSES

KEY = ["layer", "concept_set", "similarity_fn"]
NETWORKS = {"trained": "activations", "untrained": "activations_untrained"}


def run(params: Params, layout: Layout) -> None:
    """Writes the unit tables (trained and untrained), the layer table, a plot of it, metrics and the evidence."""
    recorded = [name for name in NETWORKS if name == "trained" or params.record.untrained]
    units, layers = _dissect(params, layout, recorded)
    table = layers["trained"]
    if "untrained" in layers:
        control = layers["untrained"].drop(columns="num_units").set_index(KEY).add_prefix("untrained_")
        table = table.join(control, on=KEY)
    write_parquet(layout.artifacts / "units.parquet", units["trained"])
    write_parquet(layout.artifacts / "units_untrained.parquet", units.get("untrained", units["trained"].head(0)))
    write_parquet(layout.artifacts / "layers.parquet", table)
    write_csv(layout.reports / "interpretability.csv", table)
    shown = table[table.similarity_fn == params.edit.similarity_fn]
    metrics = {
        name: group.set_index("layer")[["prop_interp", "overall_acc", "overall_chance"]].to_dict("index")
        for name, group in shown.groupby("concept_set")
    }
    write_json(layout.reports / "dissect.json", {"limited": int(params.data.limit > 0)} | metrics)
    write_json(layout.reports / "proof.json", _evidence(params, layout, units))


def _dissect(params: Params, layout: Layout, networks: list[str]) -> tuple[dict, dict]:
    """The unit table and the layer table of each network."""
    imageset = load_imageset(layout.data)
    digest, probe = imageset.digest(), imageset.probe_rows(params.dissect.probe)
    labels = torch.from_numpy(imageset.labels[probe])
    sets = load_concept_scores(layout.artifacts, digest, probe, params.concept_sets)
    functions = {name: similarity_function(name, params.dissect, params.seed) for name in params.dissect.similarity_fns}
    units: dict[str, list] = {network: [] for network in networks}
    rows: dict[str, list] = {network: [] for network in networks}
    for layer, network in progress([(layer, network) for layer in LAYERS for network in networks], desc="dissect"):
        activations = load_activations(layout.artifacts / NETWORKS[network], layer, digest, probe)
        top = top_images(activations, params.dissect.top_images)
        shown = probe[top.T.numpy()].tolist()
        for concepts in sets:
            for name, function in functions.items():
                key = {"layer": layer, "concept_set": concepts.name, "similarity_fn": name}
                columns, row = dissect_layer(activations, labels, concepts, function, top=top, tau=params.dissect.tau)
                units[network].append(pd.DataFrame({**columns, "top_images": shown}).assign(**key))
                rows[network].append(key | row)
    tables = {network: pd.concat(parts, ignore_index=True) for network, parts in units.items()}
    return tables, {network: pd.DataFrame(parts) for network, parts in rows.items()}


def _evidence(params: Params, layout: Layout, units: dict[str, pd.DataFrame]) -> dict:
    """The known answer (lin3) and, where concepts are measured, the evidence on kept val and test images."""
    imageset = load_imageset(layout.data)
    annotations = pd.read_parquet(layout.data / "annotations.parquet").drop(columns="image_id")
    chosen = {name: table[table.similarity_fn == params.edit.similarity_fn] for name, table in units.items()}
    trained = chosen["trained"]
    proof: dict = {"evidence": params.annotate.source}
    names_classes = trained.loc[trained.description.isin(CLASSES), "concept_set"].unique()
    proof["lin3"] = {name: own_class_units(trained[trained.concept_set == name]) for name in names_classes}
    if annotations.notna().to_numpy().any():
        rows = imageset.evaluation_rows()["val_test"]
        rows = rows[imageset.kept[rows]]
        for name, table in chosen.items():
            table = table[table.concept_set == params.edit.concept_set]
            folder = layout.artifacts / NETWORKS[name]
            proof[name] = description_evidence(table, annotations, folder, imageset.digest(), rows, seed=params.seed)
    return proof
