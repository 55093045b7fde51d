"""A small benchmark's result files as the stages before the report write them, with numbers that agree."""

import dataclasses
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from kinds import VGG, Kind, network_of, with_kind
from presets import preset
from reporting.small_edits import write_edits

from emobench.concepts.class_table import class_table
from emobench.concepts.clip import Origin
from emobench.faces.card import describe, write_card
from emobench.files import write_csv, write_json
from emobench.layout import Layout
from emobench.networks.card import NetworkCard
from emobench.params import Params
from emobench.vocabulary.card import Vocabulary, load_vocabulary, save_vocabulary, vocabulary_of

SIZES = {"train": 140, "val": 70, "test": 105}


def small_params(source: str = "synthetic", kind: Kind = VGG, **edit) -> Params:
    """The demo's params with a grid of 3 x 3 and two top units."""
    params = with_kind(preset(), kind)
    if source == "fer2013":
        params = dataclasses.replace(params, data=preset("fer2013").data)
    edit = {"taus": [-0.5, 0.0, 0.5], "factors": [1.0, 1.5, 2.0], "layer": kind.edited, **edit}
    return dataclasses.replace(
        params,
        name="small",
        edit=dataclasses.replace(params.edit, **edit),
        report=dataclasses.replace(params.report, top_units=2, top_images=3),
    )


def write_results(
    root: Path, params: Params, *, seed: int = 0, units: int = 12, sizes=None, layers=None, kind: Kind = VGG
) -> Layout:
    """Writes every input of the stages report and track below ``root``."""
    layout, generator = Layout(params.name, root), np.random.default_rng(seed)
    for folder in (layout.data, layout.models / "clip", layout.artifacts, layout.reports):
        folder.mkdir(parents=True)
    index = _images(layout, params, generator, sizes or SIZES, kind)
    card = write_network_card(layout, kind, layers or kind.layers)
    write_dissection(layout, index, generator, units, card)
    write_edits(layout, params, index, generator, kind)
    limited = int(params.data.limit > 0)
    _write(layout.reports / "audit.json", {"images": len(index), "removed": 0, "leaks": 3, "limited": limited})
    _write(layout.reports / "network.json", {"limited": limited, "precision": "bfloat16", "test": {"accuracy": 0.7}})
    _write(layout.reports / "clip.json", {"mean_auroc": 0.91, "limited": limited, "precision": "float32"})
    _write(layout.models / "clip" / "clip.json", {"source": "train", "saw_labels": True, "saw_annotations": True})
    answers = {"emotions": {"soft_wpmi": {"own_class": 6, "units": 7}}}
    held_out = {"evidence": "truth", "output_layer": {"layer": card.output_layer, "concept_sets": answers}}
    held_out["trained"] = {kind.edited: {"described": 0.81, "random": 0.5, "units": 11}}
    _write(layout.reports / "held_out.json", held_out)
    columns = ["concept", "positives", "negatives", "auroc", "note"]
    others = [name for name in load_vocabulary(layout.data).concepts("expressions") if name != "tearful eyes"]
    rows = [(name, 60, 200, 0.9, None) for name in others]
    rows.append(("tearful eyes", 12, 300, np.nan, "fewer than 50 positives"))
    pd.DataFrame(rows, columns=columns).to_csv(layout.reports / "clip_concepts.csv", index=False)
    history = {"epoch": [1, 2], "train_loss": [1.9, 1.2], "val_loss": [1.8, 1.3], "val_accuracy": [0.3, 0.6]}
    pd.DataFrame(history).assign(lr=0.01).to_csv(layout.reports / "history.csv", index=False)
    write_concept_classes(layout, generator)
    return layout


def write_concept_classes(layout: Layout, generator) -> None:
    """The table that the stage embed writes, of vectors drawn at random instead of a CLIP's."""

    def unit_vectors(names, prompts=()):
        vectors = generator.normal(size=(len(names), 8))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    vocabulary = load_vocabulary(layout.data)
    clip = SimpleNamespace(origin=Origin(source="checkpoint", name="small"), embed_texts=unit_vectors)
    concepts = {name: vocabulary.concepts(name) for name in vocabulary.sets}
    vectors = {name: unit_vectors(of) for name, of in concepts.items()}
    write_csv(layout.reports / "concept_classes.csv", class_table(clip, vocabulary, concepts, vectors, ["{}"]))


def _write(path: Path, value) -> None:
    path.write_text(json.dumps(value))


def write_network_card(layout: Layout, kind: Kind, layers) -> NetworkCard:
    """Writes the card of the kind's network, of which only some layers were recorded."""
    card = dataclasses.replace(network_of(kind).card, recorded=tuple(layers))
    write_json(layout.models / "network" / "network.json", card.to_json())
    return card


def _images(layout: Layout, params: Params, generator, sizes, kind: Kind) -> pd.DataFrame:
    count = sum(sizes.values())
    images = generator.integers(0, 256, (count, *kind.shape)).astype(np.uint8)
    np.save(layout.data / "images.npy", images)
    index = pd.DataFrame(
        {
            "image_id": [f"synthetic/{number:06}" for number in range(count)],
            "label": np.arange(count) % len(kind.classes),
            "split": np.repeat(list(sizes), list(sizes.values())),
            "status": "kept",
            "reason": None,
            "duplicate_of": None,
            "near_duplicate_of": None,
            "leaks": False,
            "conflict": False,
        }
    )
    index.loc[index.index[-3:], "leaks"] = True
    index.loc[index.index[-1], ["status", "reason"]] = ["removed", "blank"]
    index.to_parquet(layout.data / "index.parquet")
    drawn = params.data.source == "synthetic"
    words = "synthetic faces" if drawn else f"{params.data.source}: mine"
    card = describe(images, index, kind.classes, source=words, private=not drawn, limited=params.data.limit > 0)
    write_card(layout.data, card)
    vocabulary = vocabulary_of(params.concept_sets, kind.classes)
    save_vocabulary(layout.data, vocabulary, params.concept_sets)
    annotations = pd.DataFrame(generator.random((count, 25)), columns=list(vocabulary.concepts("expressions")))
    annotations["flared nostrils"] = np.nan
    annotations.insert(0, "image_id", index["image_id"])
    annotations.to_parquet(layout.data / "annotations.parquet")
    return index


def write_dissection(layout: Layout, index: pd.DataFrame, generator, count: int, card: NetworkCard) -> None:
    tables, rows, vocabulary = [], [], load_vocabulary(layout.data)
    train = np.flatnonzero(index["split"] == "train")
    for position, layer in enumerate(card.chosen):
        size = layer.units if layer.name == card.output_layer else count
        for name in vocabulary.sets:
            units = _units(vocabulary, name, size, position, train, generator).assign(layer=layer.name)
            tables.append(units)
            key = {"layer": layer.name, "concept_set": name, "similarity_fn": "soft_wpmi"}
            rows.append({**key, **_summary(units)})
    _write_evidence(layout, rows, vocabulary, generator)
    _write_profiles(layout, vocabulary, pd.concat(tables), card, generator)
    pd.concat(tables).to_parquet(layout.artifacts / "units.parquet", index=False)
    pd.DataFrame(rows).to_parquet(layout.artifacts / "layers.parquet", index=False)
    (layout.reports / "dissect.json").write_text(json.dumps({"limited": 0}))


def _units(vocabulary: Vocabulary, name: str, size: int, position: int, train, generator) -> pd.DataFrame:
    """The units of a layer by one concept set."""
    concepts, speaks = np.array(vocabulary.concepts(name)), vocabulary.speaks(name)
    best = generator.integers(0, len(concepts), size)
    chance = np.array([len(speaks[concept]) / len(vocabulary.classes) or np.nan for concept in concepts[best]])
    right = np.minimum(1, np.nan_to_num(chance) * (0.8 + position / 10))
    units = pd.DataFrame(
        {
            "unit": range(size),
            "concept_set": name,
            "similarity_fn": "soft_wpmi",
            "description": concepts[best],
            "similarity": generator.gamma(2, 0.4 + 0.1 * position, size) - 0.4,
            "runner_up": concepts[(best + 1) % len(concepts)],
            "margin": generator.random(size),
            "top_images": [generator.choice(train, 5, replace=False) for _ in range(size)],
            "label_accuracy": np.where(np.isnan(chance), np.nan, generator.binomial(5, right) / 5),
            "chance": chance,
            "dead": np.arange(size) == 3,
        }
    )
    return units.assign(lift=units["label_accuracy"] / units["chance"])


def _write_profiles(layout: Layout, vocabulary: Vocabulary, units: pd.DataFrame, card: NetworkCard, generator) -> None:
    """Similarities to all concepts, activation by class, and what scaling by 0 does to the last hidden layer."""
    arrays = {}
    for name in vocabulary.sets:
        count, concepts = int((units["concept_set"] == name).sum()), vocabulary.concepts(name)
        arrays[f"concepts_{name}"] = np.array(concepts)
        arrays[f"similarity_{name}"] = generator.normal(size=(count, len(concepts))).astype(np.float16)
    arrays["class_activation"] = generator.normal(size=(count, len(vocabulary.classes))).astype(np.float32)
    np.savez(layout.artifacts / "profiles.npz", **arrays)
    edited = [layer.name for layer in card.chosen if layer.name != card.output_layer][-1]
    effects = units.loc[(units["layer"] == edited) & (units["concept_set"] == "emotions"), ["layer", "unit"]]
    effects = effects.assign(images=70, delta_accuracy=0.0, delta_nll=generator.normal(0, 0.01, len(effects)))
    effects.to_parquet(layout.artifacts / "unit_effects.parquet", index=False)


def _write_evidence(layout: Layout, rows: list[dict], vocabulary: Vocabulary, generator) -> None:
    """Held-out scores and nulls of the same layers, for the trained and the untrained network."""
    evidence, nulls = [], []
    for row in rows:
        key = {name: row[name] for name in ("layer", "concept_set", "similarity_fn")}
        concepts = list(vocabulary.concepts(row["concept_set"]))
        for network in ("trained", "untrained"):
            shares = [1 / len(concepts)] * len(concepts)
            quantiles = np.sort(generator.normal(-0.4, 0.2, 101)).tolist()
            drawn = {"quantiles": quantiles, "null_shares": shares, "unit_shares": shares}
            nulls.append({"network": network, **key, "concepts": concepts, **drawn})
            for source, metric in itertools.product(("clip", "measured"), ("f1", "iou", "pearson", "cosine", "auprc")):
                low, middle, high = np.sort(generator.random(3))
                scores = {"described": middle, "random": low, "constant": (low + middle) / 2, "best": high}
                evidence.append({"network": network, **key, "source": source, "metric": metric, "units": 9, **scores})
        measured = evidence[-11]  # the trained network's last row
        row |= {f"measured_auprc_{name}": measured[name] for name in ("described", "random", "constant", "best")}
    pd.DataFrame(evidence).to_parquet(layout.artifacts / "evidence.parquet", index=False)
    pd.DataFrame(nulls).to_parquet(layout.artifacts / "nulls.parquet", index=False)


def _summary(units: pd.DataFrame) -> dict:
    chosen = units["similarity"] > 0
    row = {"num_units": len(units), "num_interp": int(chosen.sum()), "num_uninterp": int((~chosen).sum())}
    for group, mask in {"overall": chosen | True, "interp": chosen, "uninterp": ~chosen}.items():
        row[f"{group}_acc"] = units.loc[mask, "label_accuracy"].mean()
        row[f"{group}_chance"] = units.loc[mask, "chance"].mean()
    lift = row["overall_acc"] / row["overall_chance"]
    row |= {"prop_interp": chosen.mean(), "lift": lift, "untrained_prop_interp": 0.4, "dead": 1}
    row |= {"prop_significant": 0.8, "untrained_prop_significant": 0.3, "effect": 4.5, "untrained_effect": 1.5}
    row |= {"stability": 0.7, "stability_noise": 0.9, "agreement": 0.4}
    row |= {
        f"{twin}{name}": 0.1 for twin in ("", "untrained_") for name in ("clarity", "redundancy", "polysemanticity")
    }
    return row | {
        "truth_units": 10,
        "truth_top1": 0.3,
        "truth_top1_random": 0.04,
        "truth_top3": 0.5,
        "truth_top3_random": 0.12,
    }
