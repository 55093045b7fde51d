"""Tables and arrays for a unit atlas, made up but of the shapes and columns that the stages write."""

import numpy as np
import pandas as pd
from kinds import LAYERS

from emobench.reporting.atlas import Shown, atlas_data
from emobench.vocabulary.card import vocabulary_of
from emobench.vocabulary.class_names import BASIC

SETS = ("expressions", "emotions")
VOCABULARY = vocabulary_of(SETS, BASIC)
SHOWN = Shown("soft_wpmi", 0.0, 0.05, SETS, LAYERS, BASIC, VOCABULARY.every)
SCORES = [f"{source}_{name}" for source in ("clip", "measured") for name in ("f1", "iou", "pearson", "cosine", "auprc")]
FULL = dict(zip(LAYERS, (64, 64, 128, 128, 256, 256, 512, 512, 4096, 4096, 7), strict=True))
"""Units of the network of width 1.0."""


def small_tables(sizes: dict[str, int], *, seed: int = 0, held_out: bool = True):
    """Units, profiles and effects. The third unit of every layer is dead."""
    generator = np.random.default_rng(seed)
    key = pd.DataFrame([(layer, unit) for layer in sizes for unit in range(sizes[layer])], columns=["layer", "unit"])
    count = len(key)
    shared = {
        "dead": key["unit"] == 2,
        "top_images": list(generator.integers(0, 300, (count, 5))),
        "clarity": generator.random(count),
        "polysemanticity": generator.random(count),
    }
    profiles = {"class_activation": generator.normal(size=(count, 7)).astype(np.float32)}
    parts = []
    for name in SETS:
        concepts = np.array(VOCABULARY.concepts(name))
        similarity = generator.normal(-30, 20, (count, len(concepts))).astype(np.float16)
        profiles |= {f"similarity_{name}": similarity, f"concepts_{name}": concepts}
        order = np.argsort(-similarity.astype(float), axis=1, kind="stable")
        best, second = (similarity[np.arange(count), order[:, place]].astype(float) for place in (0, 1))
        accuracy, chance = generator.integers(0, 6, count) / 5, generator.choice([0.1, 0.25, 0.4], count)
        p = generator.beta(0.2, 1, count)
        part = key.assign(
            description=concepts[order[:, 0]], similarity=best, runner_up=concepts[order[:, 1]], margin=best - second,
            label_accuracy=accuracy, chance=chance, lift=accuracy / chance, concept_set=name, similarity_fn="soft_wpmi",
            **shared,
        )  # fmt: skip
        if held_out:
            scores = {column: generator.random(count) for column in SCORES}
            steps = {
                "stability": generator.integers(0, 11, count) / 10,
                "agreement": generator.integers(0, 5, count) / 4,
            }
            part = part.assign(
                null_p=p, q_value=np.minimum(1, 1.5 * p), effect=generator.normal(size=count), **scores, **steps
            )
        parts.append(part)
    effects = key[key["layer"].isin(["lin1", "lin2"])].assign(images=500)
    effects["delta_accuracy"] = generator.integers(-2, 2, len(effects)) / 500
    effects["delta_nll"] = generator.normal(0, 1e-4, len(effects))
    return pd.concat(parts, ignore_index=True), profiles, effects


def small_data(sizes: dict[str, int], **options):
    """The data of the page from made-up tables."""
    units, profiles, effects = small_tables(sizes, **options)
    return atlas_data(units, profiles, effects, SHOWN)
