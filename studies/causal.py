"""Do units respond to what describes them, and how much does a description say? On drawn faces, where it is known.

Run in the repository's root after `dvc repro` of a benchmark with drawn faces: `python studies/causal.py specificity`,
`... sets`, `... baselines`. Tables and figures go to reports/causal/<benchmark>/. No stage's output changes.
"""

from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from causal_bench import FOLDERS, Bench, bench
from causal_figures import baseline_picture, set_picture, specificity_picture
from torch import Tensor

from emobench.faces.synthetic.pairs import Pairs, draw_pairs
from emobench.functional.baselines import diff_means, directed, explained, like_units, sparse_explanations
from emobench.functional.causal import own_rank, responses, specificity
from emobench.functional.faithfulness import auprc, measured_evidence
from emobench.functional.prediction_sets import correlations, coverage, prediction_sets
from emobench.networks.record_folder import record_arrays

PAIRS_SEED, SETS_SEED = 1001, 2001
"""Added to the benchmark's seed: none of its faces or draws is used again."""
CONFIDENCE = 0.9
NEAREST = 5
"""A like unit is drawn from so many of its layer."""


@click.group()
def main() -> None:
    """Hold descriptions against what was drawn."""


@main.command("specificity")
@click.option("--faces", default=100, show_default=True, help="Faces that each concept is moved on.")
def specificity_command(faces: int) -> None:
    """Move one concept at a time: does a unit respond to its own, and to the others?"""
    run = bench()
    pairs = draw_pairs(faces, run.params.seed + PAIRS_SEED)
    moved, rows = torch.from_numpy(pairs.moved), np.concatenate([run.imageset.rows(name) for name in ("val", "test")])
    summary, units = [], []
    for network in run.networks:
        recorded, described = recorded_pairs(run, network, pairs), run.descriptions(network, pairs.concepts)
        for layer in run.layers:
            response = responses(*recorded[layer], run.activations(network, layer, rows))
            row, table = of_layer(response, moved, described[layer])
            summary.append({"network": network, "layer": layer, **row})
            if layer == run.params.edit.layer:
                names = [pairs.concepts[place] for place in described[layer]]
                units.append(
                    pd.DataFrame({"network": network, "unit": range(len(names)), "description": names, **table})
                )
    table = pd.DataFrame(summary)
    run.write("specificity_units", pd.concat(units))
    moves = pd.DataFrame(pairs.moved, columns=list(pairs.concepts)).assign(moved=pairs.concepts)
    run.write("moved", moves[["moved", *pairs.concepts]])
    run.write("specificity", table, specificity_picture(table))
    click.echo(table.round(3).to_string(index=False))


def recorded_pairs(run: Bench, network: str, pairs: Pairs) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer -> activations (concepts, faces, units) without and with each concept."""
    shape, own = pairs.without.shape[:2], run.networks[network]
    sides: list[dict[str, np.ndarray]] = []
    for images in (pairs.without, pairs.shown):
        flat = images.reshape(-1, *images.shape[2:])
        arrays = {name: np.empty((len(flat), own.card.layer(name).units), np.float32) for name in run.layers}
        wanted = run.params.record
        options = {"pool": wanted.pool, "tokens": wanted.tokens, "batch_size": wanted.batch_size}
        record_arrays(own, flat, np.arange(len(flat)), arrays, **options)
        sides.append(arrays)
    before, after = ({name: torch.from_numpy(side[name]).reshape(*shape, -1) for name in run.layers} for side in sides)
    return {name: (before[name], after[name]) for name in run.layers}


def of_layer(response: Tensor, moved: Tensor, described: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
    """A layer's means, of the described concept, of one drawn at random and of the best; and the units' own values."""
    shares, ranks, at = specificity(response, moved), own_rank(response, moved), described[:, None]
    alive = ~shares.isnan().all(1)
    own = {"response": response.gather(1, at)[:, 0], "specificity": shares.gather(1, at)[:, 0]}
    own |= {"rank": ranks.gather(1, at)[:, 0]}
    first = ranks == 1
    row = {"units": len(response), "dead": int((~alive).sum())}
    row |= {
        "response": own["response"][alive].mean().item(),
        "response_random": response[alive].mean().item(),
        "specificity": own["specificity"][alive].mean().item(),
        "specificity_random": shares[alive].mean().item(),
        "specificity_best": shares[alive].amax(1).mean().item(),
        "first": (own["rank"][alive] == 1).double().mean().item(),
        "first_random": first[alive].double().mean().item(),
        "falls": (own["response"][alive] < 0).double().mean().item(),
    }
    return row, {name: values.numpy() for name, values in own.items()}


@main.command()
@click.option("--draws", default=200, show_default=True, help="Bootstrap samples of the probe images.")
@click.option("--probes", default=5, show_default=True, help="Disjoint sets of probe images.")
@click.option("--images", default=600, show_default=True, help="Images of each.")
def sets(draws: int, probes: int, images: int) -> None:
    """Which concepts may be a unit's best, and how often the truly best one is among them."""
    run = bench()
    shuffled = np.random.default_rng(run.params.seed + SETS_SEED).permutation(len(run.imageset.index))
    parts = [np.sort(shuffled[k * images : (k + 1) * images]) for k in range(probes)]
    rest = np.sort(shuffled[probes * images :])
    rows = []
    for layer in run.layers:
        every = run.activations("trained", layer, np.arange(len(shuffled)))
        for source in ("clip", "truth"):
            concepts, scores = run.scores(np.arange(len(shuffled)))
            scores = scores if source == "clip" else run.truth(np.arange(len(shuffled)), concepts)
            best = correlations(every[rest], scores[rest])
            alive = every.std(0) > 0
            for number, part in enumerate(parts):
                generator = torch.Generator().manual_seed(run.params.seed + SETS_SEED + number)
                options = {"draws": draws, "confidence": CONFIDENCE, "generator": generator}
                found = prediction_sets(every[part], scores[part], **options)[alive]
                guess = correlations(every[part], scores[part]).argmax(1)
                row = {"layer": layer, "source": source, "probe": number, "units": int(alive.sum())}
                row |= {"coverage": coverage(found, best.argmax(1)[alive])}
                row |= {"guess_right": (guess == best.argmax(1))[alive].double().mean().item()}
                size = found.sum(1).double()
                row |= {"size": size.mean().item(), "size_median": size.median().item()}
                rows.append(row | {"alone": (size == 1).double().mean().item()})
    table = pd.DataFrame(rows)
    measures = ["units", "coverage", "guess_right", "size", "size_median", "alone"]
    means = table.groupby(["source", "layer"], sort=False)[measures].mean().reset_index()
    lowest = table.groupby(["source", "layer"], sort=False)["coverage"].min().reset_index(drop=True)
    means = means.assign(coverage_lowest=lowest)
    run.write("sets", means, set_picture(means, CONFIDENCE))
    click.echo(means.round(3).to_string(index=False))


@main.command()
@click.option("--most", default=3, show_default=True, help="Concepts of a sparse explanation.")
@click.option("--network", "networks", multiple=True, type=click.Choice(list(FOLDERS)), default=list(FOLDERS))
def baselines(most: int, networks: tuple[str, ...]) -> None:
    """Do descriptions beat a difference of means, a sparse linear explanation, and units that are merely alike?"""
    run = bench()
    probe = run.imageset.probe_rows(run.params.dissect.probe)
    held = np.sort(np.concatenate([run.imageset.rows(name) for name in ("val", "test")]))
    concepts, fitted = run.scores(probe)
    seen = {"clip": (fitted, run.scores(held)[1]), "truth": (run.truth(probe, concepts), run.truth(held, concepts))}
    rows = []
    for network in networks:
        tables = run.described(network)
        for layer in run.layers:
            on_probe, on_held = (run.activations(network, layer, part) for part in (probe, held))
            at = torch.tensor([concepts.index(name) for name in tables[layer]["description"]])
            row = {"network": network, "layer": layer} | detectors(on_probe, on_held, seen["truth"], tables[layer], at)
            generator = torch.Generator().manual_seed(run.params.seed + SETS_SEED)
            like = like_units(on_probe, nearest=NEAREST, generator=generator)
            for source, pair in seen.items():
                row |= {
                    f"{name}_{source}": value for name, value in explanations(on_probe, on_held, pair, at, like, most)
                }
            rows.append(row)
    table = pd.DataFrame(rows)
    run.write("baselines", table, baseline_picture(table, run.params.edit.layer))
    click.echo(table.round(3).T.to_string())


def detectors(
    on_probe: Tensor, on_held: Tensor, truth: tuple[Tensor, Tensor], table: pd.DataFrame, at: Tensor
) -> dict[str, float]:
    """Mean AUPRC on held-out images over the concepts that describe a unit: what detects a concept best in a layer?

    The direction of DiffMean, the unit that the concept describes best, the unit that detects it best on the probe, and
    the share of images that have it, which is what chance gets.
    """
    known, judged = (measured_evidence(values) for values in truth)
    directions = diff_means(on_probe, known.present, known.absent)
    along = auprc(directed(on_held, directions, on_probe), judged).diagonal()
    units, chosen = auprc(on_held, judged), auprc(on_probe, known).nan_to_num(-1).argmax(0)
    similarity = torch.from_numpy(table["similarity"].to_numpy(np.float32))
    there = [place for place in range(len(along)) if (at == place).any() and not along[place].isnan()]
    best = [int(torch.where(at == place, similarity, -torch.inf).argmax()) for place in there]
    share = (judged.present.sum(0) / (judged.present | judged.absent).sum(0))[there]
    found = {"diff_mean": along[there], "described_unit": units[best, there], "best_unit": units[chosen[there], there]}
    means = {f"auprc_{name}": values.mean().item() for name, values in (found | {"chance": share}).items()}
    return {"concepts": len(there), **means}


def explanations(
    on_probe: Tensor, on_held: Tensor, scores: tuple[Tensor, Tensor], at: Tensor, like: Tensor, most: int
) -> list[tuple[str, float]]:
    """Mean correlation over units on held-out images: of a unit with its description, and with rivals of that."""
    every = correlations(on_held, scores[1])
    found = {"description": every.gather(1, at[:, None])[:, 0], "like_unit": every[like, at], "random": every.mean(1)}
    for name, count in (("one_concept", 1), ("few_concepts", most)):
        found[name] = explained(sparse_explanations(on_probe, scores[0], count), on_held, scores[1])
    return [(name, values.mean().item()) for name, values in found.items()]


if __name__ == "__main__":
    main()
