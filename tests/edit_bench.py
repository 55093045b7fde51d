"""A small benchmark on disk: random pictures, an untrained narrow network, and similarities for its units."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from presets import preset
from small_card import write_small_card
from small_network import as_network, new_network

from emobench.files import write_array, write_parquet
from emobench.layout import Layout
from emobench.networks.network import Network
from emobench.networks.sources import load_network, save_network, with_weights
from emobench.networks.vggnet import LAYERS
from emobench.params import Params
from emobench.settings.edit import Controls
from emobench.vocabulary.card import load_vocabulary, save_vocabulary, vocabulary_of
from emobench.vocabulary.class_names import BASIC
from emobench.weights import read_state

DEMO = Path(__file__).parents[1] / "emobench" / "presets" / "demo.yaml"
TAUS, FACTORS = [-9.0, -0.5, 0.0, 0.5], [1.0, 1.5, 3.0]


def small_params(**edit) -> Params:
    params = preset()
    options = {"layer": "auto", "taus": TAUS, "factors": FACTORS, "arms": ["similarity", "weight_norm", "proportional"]}
    options["controls"] = Controls(draws=edit.pop("draws", 0), least=edit.pop("least", 50))
    quick = {"kinds": [], "joint": [], "penalties": [1.0], "exponents": [1.0], "folds": 2, "steps": 3, "batch_size": 16}
    options["search"] = dataclasses.replace(params.edit.search, **(quick | edit.pop("search", {})))
    compare = dataclasses.replace(params.compare, bootstrap_draws=200)
    edited = dataclasses.replace(params.edit, **(options | edit))
    return dataclasses.replace(params, name="small", edit=edited, compare=compare)


def write_benchmark(root: Path, *, train=5, val=40, test=50, removed=3, seed=0) -> Layout:
    """Writes what the stage edit reads. Labels are the network's own answers, one in three drawn anew."""
    layout, rng = Layout("small", root), np.random.default_rng(seed)
    splits = np.repeat(["train", "val", "test"], [train, val, test])
    images = rng.integers(256, size=(len(splits), 48, 48), dtype=np.uint8)
    model = new_network(0.0625, 0.2, seed).eval()
    for layer in LAYERS:  # so that the answers differ from image to image
        model.get_submodule(layer).weight.data *= 3
    network = as_network(model)
    with torch.inference_mode():
        logits = network.model(network.inputs(images))
        network.model.lin3.bias -= logits.mean(0)
        logits = network.model(network.inputs(images))
    save_network(network, layout.models / "network")
    labels = np.where(rng.random(len(images)) < 2 / 3, logits.argmax(-1).numpy(), rng.integers(7, size=len(images)))
    status = np.where(np.arange(len(images)) % 29 < removed, "removed", "kept")
    index = pd.DataFrame(
        {"image_id": [f"small/{i}" for i in range(len(images))], "label": labels, "split": splits, "status": status}
    )
    blank = dict.fromkeys(["reason", "duplicate_of", "near_duplicate_of"])
    leaks = (splits == "test") & (np.arange(len(images)) % 7 == 0)
    write_array(layout.data / "images.npy", images)
    write_parquet(layout.data / "index.parquet", index.assign(**blank, leaks=leaks, conflict=False))
    write_small_card(layout.data)
    sets = ["emotions", "expressions"]
    save_vocabulary(layout.data, vocabulary_of(sets, BASIC), sets)
    _write_dissection(layout, rng)
    return layout


def _write_dissection(layout: Layout, rng: np.random.Generator) -> None:
    weights = load_network(layout.models / "network").model
    units, layers, vocabulary = [], [], load_vocabulary(layout.data)
    for layer in LAYERS:
        count = len(weights.get_submodule(layer).weight)
        for concepts in ("emotions", "expressions"):
            key = {"layer": layer, "concept_set": concepts, "similarity_fn": "soft_wpmi"}
            similarity = rng.normal(size=count)
            table = pd.DataFrame({"unit": range(count), "similarity": similarity, "lift": rng.gamma(2, 0.6, count)})
            q = rng.random(count) ** 3
            table = table.assign(q_value=q, significant=q < 0.05, clip_auprc=rng.random(count), **key)
            units.append(
                table.assign(description=rng.choice(vocabulary.concepts(concepts), count), measured_auprc=np.nan)
            )
            layers.append({**key, "num_units": count, "num_interp": int((similarity > 0).sum())})
    write_parquet(layout.artifacts / "units.parquet", pd.concat(units, ignore_index=True))
    write_parquet(layout.artifacts / "layers.parquet", pd.DataFrame(layers))


def speaks(layout: Layout, label: str = "expressions") -> dict[str, tuple[str, ...]]:
    """The classes that each concept of a set speaks for."""
    return load_vocabulary(layout.data).speaks(label)


def with_file(layout: Layout, path: Path) -> Network:
    """The benchmark's network with the weights of a file."""
    return with_weights(load_network(layout.models / "network"), read_state(path, "params"))
