"""Stage dissect: what every unit reacts to, which layers can be read, and how true the descriptions are."""

from typing import Any

import pandas as pd

from emobench.concepts.annotations import load_annotations
from emobench.concepts.embeddings import load_concept_scores
from emobench.dissection.evidence import evidence, layer_metrics, profiles
from emobench.dissection.network import Images, dissect_networks, side_by_side
from emobench.faces.imageset import load_imageset
from emobench.files import file_digest, write_arrays, write_csv, write_json, write_parquet
from emobench.layout import Layout
from emobench.networks.activations import check_network
from emobench.networks.card import NetworkCard
from emobench.params import Params
from emobench.seen import note
from emobench.vocabulary.card import FILE as VOCABULARY
from emobench.vocabulary.card import load_vocabulary

GIVEN = (
    "data/{name}/annotations.parquet", "reports/{name}/concept_classes.csv", "artifacts/{name}/seen/embed.json",
    "artifacts/{name}/seen/record.json",
)  # fmt: skip
"""What is noted for the stages that show it."""


def run(params: Params, layout: Layout) -> None:
    """Writes the tables of units, layers, evidence and nulls, the profiles for the atlas, and the metrics."""
    imageset, folder, vocabulary = load_imageset(layout.data), layout.artifacts, load_vocabulary(layout.data)
    card = NetworkCard.read(layout.models / "network")
    recordings = {"trained": folder / "activations"}
    if params.record.untrained:
        recordings["untrained"] = folder / "activations_untrained"
    if params.record.noise:
        recordings["noisy"] = folder / "activations_noisy"
    for recording in recordings.values():
        check_network(recording, card.weights)
    embeddings, sets = load_concept_scores(folder, imageset.digest(), vocabulary)
    annotations = load_annotations(layout.data, imageset)
    images, names = Images(imageset, embeddings, sets, annotations), [layer.name for layer in card.chosen]
    options: dict[str, Any] = {"profiled": params.edit.similarity_fn, "seed": params.seed}
    tables = dissect_networks(params.dissect, images, names, recordings, **options)
    units = {network: pd.concat(found.units, ignore_index=True) for network, found in tables.items()}
    layers = side_by_side({network: pd.DataFrame(found.layers) for network, found in tables.items()})
    made = {"images": imageset.digest(), "network": card.weights}
    made["vocabulary"] = file_digest(layout.data / VOCABULARY)
    write_parquet(folder / "units.parquet", units["trained"], made)
    write_parquet(folder / "units_untrained.parquet", units.get("untrained", units["trained"].head(0)), made)
    write_parquet(folder / "layers.parquet", layers, made)
    for name in ("evidence", "nulls"):
        rows = [{"network": network, **row} for network, found in tables.items() for row in getattr(found, name)]
        write_parquet(folder / f"{name}.parquet", pd.DataFrame(rows), made)
    write_csv(layout.reports / "evidence.csv", pd.read_parquet(folder / "evidence.parquet"))
    write_arrays(folder / "profiles.npz", profiles(tables["trained"], sets))
    write_csv(layout.reports / "interpretability.csv", layers)
    limited = {"limited": int(params.data.limit > 0)}
    write_json(layout.reports / "dissect.json", limited | layer_metrics(layers, params.edit.similarity_fn))
    known: dict[str, Any] = {
        "card": card,
        "sets": {scored.name: scored.concepts for scored in sets},
        "edit": params.edit,
    }
    held_out = evidence(units, imageset, annotations, recordings, **known, seed=params.seed)
    write_json(layout.reports / "held_out.json", {"evidence": params.annotate.source} | held_out)
    note(layout, "dissect", GIVEN)
