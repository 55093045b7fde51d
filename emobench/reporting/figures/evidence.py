"""The report's figures and tables of how far descriptions can be trusted: effect sizes, held-out evidence, change."""

import pandas as pd

from emobench.reporting import tables
from emobench.reporting.figures.style import INK, MARKERS, MUTED, SERIES, Picture, in_style, new_axes
from emobench.reporting.page_tables import SHARE, Table, text
from emobench.reporting.results import Results
from emobench.vocabulary import set_label

CONTROLS = {"random": ("s", SERIES[1]), "constant": ("D", SERIES[4]), "best": ("|", INK)}


def draw(results: Results) -> list[Picture]:
    """All figures of this module."""
    functions = (effect_sizes, held_out, stability_by_layer)
    return [picture for function in functions if (picture := function(results)) is not None]


@in_style
def effect_sizes(results: Results) -> Picture:
    """Median distance of a layer's units from the null, in the null's sds, beside the untrained network."""
    function = results.params.edit.similarity_fn
    figure, axes = new_axes(6, 3.6)
    for number, name in enumerate(map(set_label, results.params.concept_sets)):
        layers = tables.of_dissection(results.layers, name, function)
        places = [results.layer_names.index(layer) for layer in layers["layer"]]
        style = {"color": SERIES[number], "marker": MARKERS[number], "markersize": 5}
        axes.plot(places, layers["effect"], **style, label=name)
        if "untrained_effect" in layers:
            label = f"{name}, untrained network"
            axes.plot(places, layers["untrained_effect"], **style, mfc="none", ls=":", alpha=0.8, label=label)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_yscale("symlog", linthresh=3)
    axes.set_xticks(range(len(results.layer_names)), results.layer_names, rotation=45, ha="right")
    axes.set_ylabel("effect size, median")
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    return Picture(
        "effects",
        figure,
        "How far the layer's middle unit lies above units with random top images, in their standard deviations "
        "(logarithmic beyond 3). With this many images small effects are significant too: compare with the dotted "
        "line of the untrained network, not with 0.",
        "Lines: median effect size by layer for each concept set, trained and untrained.",
    )


@in_style
def held_out(results: Results) -> Picture | None:
    """Held-out AUPRC of the descriptions against the measured concepts, with the three controls; None if unmeasured."""
    edit = results.params.edit
    rows = tables.of_dissection(results.evidence, edit.concept_set, edit.similarity_fn)
    rows = rows[(rows["source"] == "measured") & (rows["metric"] == "auprc")].dropna(subset=["described"])
    trained = rows[rows["network"] == "trained"]
    if trained.empty:
        return None
    figure, axes = new_axes(6, 4.6)
    places = [results.layer_names.index(layer) for layer in trained["layer"]]
    axes.hlines(places, trained["random"], trained["described"], color=SERIES[0], linewidth=2)
    axes.plot(trained["described"], places, "o", color=SERIES[0], label="description")
    for name, (marker, color) in CONTROLS.items():
        label = {"best": "best possible", "random": "random", "constant": "same for all units"}[name]
        axes.plot(
            trained[name], places, marker, color=color, markersize=9 if marker == "|" else 4, mew=1.5, label=label
        )
    untrained = rows[rows["network"] == "untrained"]
    if len(untrained):
        spots = [results.layer_names.index(layer) + 0.28 for layer in untrained["layer"]]
        style = {"color": SERIES[0], "mfc": "none", "markersize": 4, "alpha": 0.8}
        axes.plot(untrained["described"], spots, "o", **style, label="description, untrained network")
    axes.set_yticks(range(len(results.layer_names)), results.layer_names)
    axes.invert_yaxis()
    axes.set_xlabel("AUPRC on validation images (mean over units)")
    axes.grid(axis="x")
    figure.legend(loc="outside upper center", ncols=3)
    return Picture(
        "held_out",
        figure,
        f"Does a unit's activation find the images that show its concept ({edit.concept_set}, measured on images that "
        "named nothing)? Descriptions are worth what they gain on a random one, and on one name for all units; the "
        "tick is the most that any description could reach.",
        "Dots: held-out AUPRC of the descriptions by layer, beside random, constant and best possible descriptions.",
    )


@in_style
def stability_by_layer(results: Results) -> Picture | None:
    """Shares of units that keep their description; None if that was not measured."""
    edit = results.params.edit
    layers = tables.of_dissection(results.layers, edit.concept_set, edit.similarity_fn)
    names = {
        "stability": "other probe images",
        "stability_noise": "noise on the images",
        "agreement": "other functions",
    }
    names = {name: label for name, label in names.items() if name in layers and layers[name].notna().any()}
    if not names:
        return None
    figure, axes = new_axes(6, 3.4)
    for number, (name, label) in enumerate(names.items()):
        places = [results.layer_names.index(layer) for layer in layers["layer"]]
        axes.plot(places, 100 * layers[name], color=SERIES[number], marker=MARKERS[number], markersize=5, label=label)
    axes.set_xticks(range(len(results.layer_names)), results.layer_names, rotation=45, ha="right")
    axes.set(ylabel="% of units", ylim=(0, 104))
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=3)
    return Picture(
        "stability",
        figure,
        f"How many units keep their description ({edit.concept_set}, {edit.similarity_fn}) when the probe is drawn "
        "anew, the images get noise, or another score function is asked. Low: the name is one of several that fit "
        "about as well.",
        "Lines: share of units that keep their description by layer, for three kinds of change.",
    )


def overview_table(results: Results) -> Table:
    """Every layer, concept set and score function in one table."""
    columns = {
        "layer": ("layer", "{}"), "concept_set": ("concepts", "{}"), "similarity_fn": ("function", "{}"),
        "prop_interp": ("above τ", SHARE), "prop_significant": ("significant", SHARE),
        "untrained_prop_significant": ("untrained", SHARE), "effect": ("effect", "{:.1f}"),
        "untrained_effect": ("untrained", "{:.1f}"), "overall_acc": ("accuracy", SHARE),
        "overall_chance": ("chance", SHARE), "lift": ("lift", "{:.2f}"),
        "measured_auprc_described": ("AUPRC", "{:.3f}"), "measured_auprc_random": ("random", "{:.3f}"),
        "measured_auprc_best": ("best", "{:.3f}"), "stability": ("stable", SHARE),
        "stability_noise": ("stable, noise", SHARE), "agreement": ("agree", SHARE),
    }  # fmt: skip
    columns = {name: column for name, column in columns.items() if name in results.layers}
    rows = [[text(row[name], form) for name, (_, form) in columns.items()] for row in results.layers.to_dict("records")]
    caption = (
        "Every layer, concept set and score function. Significant: share of units at a false discovery rate of "
        f"{results.params.dissect.fdr:.0%} (for the cosines and rank_reorder by an asymptotic null); effect: median "
        "distance from the null in its standard deviations; AUPRC: held-out, against the measured concept, beside a "
        "random and the best possible description; stable: units that keep their description over resamples of the "
        "probe and under noise; agree: share of the other functions that say the same."
    )
    return Table(caption, [head for head, _ in columns.values()], rows, words=3)


def truth_table(results: Results) -> Table:
    """How often each function's description is the unit's best measured concept, or among the best three."""
    known = results.layers.dropna(subset=["truth_top1"])
    known = known[known["truth_units"] > 0]
    rows = []
    for (name, function), group in known.groupby(["concept_set", "similarity_fn"], sort=False):
        found = (_mean(group, column) for column in ("top1", "top1_random", "top3", "top3_random"))
        rows.append([name, function, f"{group['truth_units'].sum():,}", *(text(value, SHARE) for value in found)])
    caption = (
        "How often a description is the concept that the unit's activation follows most (highest correlation with the "
        "measured concept on validation images), or one of the three, over the units of all layers, beside a random "
        "description."
    )
    head = ["concepts", "function", "units", "best", "random", "best three", "random"]
    return Table(caption, head, rows, words=2)


def _mean(group: pd.DataFrame, column: str) -> float:
    """Mean over units of a share that is given by layer."""
    return float((group[f"truth_{column}"] * group["truth_units"]).sum() / group["truth_units"].sum())


def known_answer_table(results: Results) -> Table:
    """How many units of the output layer get their own class, for each function."""
    known = results.metrics("held_out")["output_layer"]
    rows = [
        [name, function, f"{count['own_class']} of {count['units']}"]
        for name, functions in known["concept_sets"].items()
        for function, count in functions.items()
    ]
    caption = (
        f"The known answer: units of the output layer ({known['layer']}), each of which stands for a class, that get "
        "their own class as name."
    )
    return Table(caption, ["concepts", "function", "own class"], rows, words=2)


def coherence_table(results: Results) -> Table:
    """Clarity, redundancy and polysemanticity by layer: they need no label and no concept."""
    chosen = tables.of_dissection(results.layers, results.params.edit.concept_set, results.params.edit.similarity_fn)
    names = [
        f"{prefix}{name}" for name in ("clarity", "redundancy", "polysemanticity") for prefix in ("", "untrained_")
    ]
    names = [name for name in names if name in chosen]
    rows = [[row["layer"], *(text(row[name], "{:.3f}") for name in names)] for row in chosen.to_dict("records")]
    caption = (
        "Without any concept: do a unit's top images look alike to CLIP (clarity, mean cosine of pairs), does another "
        "unit of the layer show the same (redundancy), and do they fall into two kinds (polysemanticity)?"
    )
    return Table(caption, ["layer", *(name.replace("_", ", ", 1) for name in names)], rows)
