"""Stage dissect: what every unit reacts to, which layers can be read, and how true the descriptions are."""

import pandas as pd

from emobench.concepts.embeddings import load_concept_scores
from emobench.dissection.evidence import evidence, layer_metrics, profiles
from emobench.dissection.network import Images, dissect_networks, side_by_side
from emobench.faces.imageset import load_imageset
from emobench.files import write_arrays, write_csv, write_json, write_parquet
from emobench.layout import Layout
from emobench.params import Params
from emobench.vocabulary.card import load_vocabulary


def run(params: Params, layout: Layout) -> None:
    """Writes the tables of units, layers, evidence and nulls, the profiles for the atlas, and the metrics."""
    imageset, folder = load_imageset(layout.data), layout.artifacts
    recordings = {"trained": folder / "activations"}
    if params.record.untrained:
        recordings["untrained"] = folder / "activations_untrained"
    if params.record.noise:
        recordings["noisy"] = folder / "activations_noisy"
    embeddings, sets = load_concept_scores(folder, imageset.digest(), load_vocabulary(layout.data))
    annotations = pd.read_parquet(layout.data / "annotations.parquet").drop(columns="image_id")
    images = Images(imageset, embeddings, sets, annotations)
    found = dissect_networks(params.dissect, images, recordings, profiled=params.edit.similarity_fn, seed=params.seed)
    units = {network: pd.concat(tables.units, ignore_index=True) for network, tables in found.items()}
    layers = side_by_side({network: pd.DataFrame(tables.layers) for network, tables in found.items()})
    write_parquet(folder / "units.parquet", units["trained"])
    write_parquet(folder / "units_untrained.parquet", units.get("untrained", units["trained"].head(0)))
    write_parquet(folder / "layers.parquet", layers)
    for name in ("evidence", "nulls"):
        rows = [{"network": network, **row} for network, tables in found.items() for row in getattr(tables, name)]
        write_parquet(folder / f"{name}.parquet", pd.DataFrame(rows))
    write_csv(layout.reports / "evidence.csv", pd.read_parquet(folder / "evidence.parquet"))
    write_arrays(folder / "profiles.npz", profiles(found["trained"], sets))
    write_csv(layout.reports / "interpretability.csv", layers)
    limited = {"limited": int(params.data.limit > 0)}
    write_json(layout.reports / "dissect.json", limited | layer_metrics(layers, params.edit.similarity_fn))
    options = {"edit": params.edit, "seed": params.seed}
    proof = evidence(units, imageset, annotations, recordings, **options)
    write_json(layout.reports / "proof.json", {"evidence": params.annotate.source} | proof)
