"""A tiny benchmark of any kind that is really dissected: pictures, a network with random weights, what its units do."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from kinds import VGG, Kind, network_of, with_kind
from presets import preset

from emobench.faces.card import describe, write_card
from emobench.faces.imageset import load_imageset
from emobench.files import file_digest, write_array, write_json, write_parquet
from emobench.layout import Layout
from emobench.networks.network import Network
from emobench.networks.recorder import Recorder
from emobench.networks.sources import build_network, save_network
from emobench.params import Params
from emobench.stages import annotate, dissect, prepare
from emobench.vocabulary.card import load_vocabulary, save_vocabulary, vocabulary_of

SPLITS = {"train": 150, "val": 60, "test": 60}


def tiny_params(kind: Kind = VGG) -> Params:
    """The demo's params with few drawn faces and few draws."""
    demo = preset()
    drawn = dataclasses.replace(demo.data, synthetic=dataclasses.replace(demo.data.synthetic, **SPLITS))
    few = dataclasses.replace(demo.dissect.soft_wpmi, top_k=20)
    return with_kind(
        dataclasses.replace(
            demo,
            data=drawn,
            dissect=dataclasses.replace(demo.dissect, soft_wpmi=few, null_draws=200, resamples=2),
            edit=dataclasses.replace(demo.edit, layer=kind.edited),
        ),
        kind,
    )


def tiny_run(root: Path, kind: Kind = VGG) -> tuple[Params, Layout]:
    """Drawn faces for the seed's kind, noise for another; then everything up to the stage dissect."""
    params, layout = tiny_params(kind), Layout("demo", root)
    (prepare.run if kind is VGG else write_noise)(params, layout)
    vocabulary = vocabulary_of(params.concept_sets, kind.classes)
    save_vocabulary(layout.data, vocabulary, params.concept_sets)
    if kind is VGG:
        annotate.run(params, layout)
    save_network(network_of(kind), layout.models / "network")
    record(params, layout, kind)
    write_embeddings(layout)
    dissect.run(params, layout)
    return params, layout


def write_noise(params: Params, layout: Layout) -> None:
    """Noise pictures of a kind that nobody draws, with annotations of noise."""
    classes, count = tuple(params.data.classes), sum(SPLITS.values())
    shape = (params.data.size, params.data.size, *([3] if params.data.channels == 3 else []))
    images = np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)
    ids = [f"mine/{number}.png" for number in range(count)]
    blank = dict.fromkeys(("reason", "duplicate_of", "near_duplicate_of"))
    index = pd.DataFrame({"image_id": ids, "label": np.arange(count) % len(classes), **blank})
    index = index.assign(split=np.repeat(list(SPLITS), list(SPLITS.values())), status="kept", leaks=False)
    write_array(layout.data / "images.npy", images)
    write_parquet(layout.data / "index.parquet", index.assign(conflict=False))
    write_card(layout.data, describe(images, index, classes, source="folder: mine", private=True, limited=False))
    named = vocabulary_of(["expressions"], classes).concepts("expressions")
    scores = pd.DataFrame(np.random.default_rng(1).random((count, len(named))), columns=list(named))
    scores.insert(0, "image_id", ids)
    write_parquet(layout.data / "annotations.parquet", scores)


def record(params: Params, layout: Layout, kind: Kind) -> None:
    """The network's activations, those of the same with other weights, and those on inputs with noise."""
    network = network_of(kind)
    other = build_network(kind.architecture, dict(kind.options), classes=kind.classes, wanted=kind.classes, seed=1)
    for name, recorded, noise in (("", network, 0.0), ("_untrained", other, 0.0), ("_noisy", network, 0.02)):
        write_activations(layout, f"activations{name}", recorded, noise)


def write_activations(layout: Layout, name: str, network: Network, noise: float) -> None:
    """Writes <layer>.npy float32 (images, units) for every layer."""
    imageset, folder = load_imageset(layout.data), layout.artifacts / name
    inputs = network.inputs(imageset.images)
    inputs = inputs + noise * torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0))
    _, units = Recorder(network, [layer.name for layer in network.card.chosen], inputs[:2])(inputs)
    for layer, values in units.items():
        write_array(folder / f"{layer}.npy", values.float().numpy())
    write_json(folder / "source.json", {"images_digest": imageset.digest()})


def write_embeddings(layout: Layout) -> None:
    """Embeddings that know the truth: image i's coordinates are its concept values and its class."""
    imageset, vocabulary = load_imageset(layout.data), load_vocabulary(layout.data)
    known = pd.read_parquet(layout.data / "annotations.parquet")[list(vocabulary.concepts("expressions"))]
    count, classes = known.shape[1], len(imageset.classes)
    vectors = np.concatenate([known.to_numpy(np.float32), np.eye(classes, dtype=np.float32)[imageset.labels]], axis=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    images = layout.artifacts / "image_embeddings.npy"
    write_array(images, vectors)
    axes = np.eye(count + classes, dtype=np.float32)
    np.savez(
        layout.artifacts / "concept_embeddings.npz",
        expressions=axes[:count], expressions_names=np.array(vocabulary.concepts("expressions")),
        emotions=axes[count:], emotions_names=np.array(imageset.classes),
        images_digest=imageset.digest(), clip_digest="none", image_embeddings_digest=file_digest(images),
    )  # fmt: skip
