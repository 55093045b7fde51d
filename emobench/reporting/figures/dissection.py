"""The report's figures of the network and its dissection; each function returns a Picture."""

import itertools
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from emobench.reporting import tables
from emobench.reporting.figures.style import (
    INK,
    MARKERS,
    MUTED,
    SERIES,
    Picture,
    in_style,
    name_ticks,
    new_axes,
    stretched,
)
from emobench.reporting.results import Results

MOST_BARS = 40
"""Descriptions in figure 5, the most frequent ones."""


def draw(results: Results) -> list[Picture]:
    """All figures of this module."""
    functions = (similarity_ridges, figure_four, figure_five, interpretable_shares, layer_accuracies, training_history)
    return [picture for function in functions if (picture := function(results)) is not None]


@in_style
def similarity_ridges(results: Results) -> Picture:
    """Histograms of every layer's best similarities, one strip a layer, with tau (as figure 4)."""
    function, tau = results.params.edit.similarity_fn, results.params.dissect.tau
    units = results.units[results.units["similarity_fn"] == function]
    low, high = np.quantile(units["similarity"], [0.005, 0.995])
    edges = np.linspace(min(low, tau), max(high, tau), 61)
    layers, sets = results.layer_names, results.concept_sets
    figure, axes = new_axes(6, stretched(6.4, len(layers), 16))
    for number, (layer, name) in enumerate(itertools.product(layers, sets)):
        values = units.loc[(units["layer"] == layer) & (units["concept_set"] == name), "similarity"]
        counts = np.histogram(values.clip(edges[0], edges[-1]), edges)[0]
        kind, base, first = number % len(sets), -layers.index(layer), layer == layers[0]
        heights, color = base + 0.85 * counts / max(counts.max(), 1), SERIES[kind % len(SERIES)]
        style: dict[str, Any] = {"facecolor": color, "alpha": 0.55, "label": name if first else None}
        axes.stairs(heights, edges, baseline=base, fill=True, **style)
        null = tables.null_of(results, layer, name)["quantiles"]
        spot: dict[str, Any] = {"color": color, "linewidth": 2.5, "solid_capstyle": "butt"}
        below = base - 0.04 - 0.05 * kind
        label = f"random units, {name}" if first else None
        axes.plot(np.clip([null[5], null[95]], edges[0], edges[-1]), [below, below], **spot, label=label)
    axes.axvline(tau, color=INK, linestyle="--", linewidth=1)
    axes.text(tau, 1.05, f" τ = {tau:g}", va="bottom")
    name_ticks(axes.yaxis, layers, 0.25 - np.arange(len(layers)))
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel=f"best similarity of each unit ({function})", ylim=(-len(layers) + 0.9, 1.6))
    axes.spines["left"].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2)
    return Picture(
        "similarities",
        figure,
        f"How well each unit's best concept fits, layer by layer (heights scaled per layer). Right of τ = {tau:g} the "
        "paper calls a unit interpretable; the bars below show where 90 of 100 units with random top images lie. Where "
        "these reach τ, passing it means nothing; values of two layers don't compare.",
        "Strips of histograms of best similarities, one per layer, with the threshold tau as a dashed line and the "
        "range of random units as a bar.",
    )


@in_style
def figure_four(results: Results) -> Picture:
    """Figure 4 of the paper: best similarities of the edited layer, with tau."""
    edit, tau, layer = results.params.edit, results.params.dissect.tau, tables.edited_layer(results)
    units = tables.of_dissection(results.units, edit.concept_set, edit.similarity_fn)
    values = units.loc[units["layer"] == layer, "similarity"]
    above = (values > tau).mean()
    figure, axes = new_axes(6, 3.4)
    null = np.array(tables.null_of(results, layer, edit.concept_set)["quantiles"])
    edges = np.histogram_bin_edges([*values, *null], bins=min(60, 5 + len(values) // 20))
    axes.hist(values, bins=edges.tolist(), color=SERIES[0], alpha=0.8, label="units")
    # Each of the null's percentiles stands for the same number of units.
    expected = np.diff(np.interp(edges, null, np.linspace(0, 1, len(null)), left=0, right=1)) * len(values)
    axes.stairs(expected, edges, color=SERIES[1], linewidth=1.5, label="as many random units")
    axes.axvline(tau, color=INK, linestyle="--", linewidth=1)
    axes.legend(loc="upper right")
    axes.set_title(f"τ = {tau:g}: {above:.1%} of {len(values):,} units are above", fontweight="normal")
    axes.set(xlabel=f"best similarity ({edit.concept_set}, {edit.similarity_fn})", ylabel="units")
    axes.grid(axis="y")
    return Picture(
        "figure4",
        figure,
        f"The edited layer, {layer} (figure 4 of the paper). An edit that splits at τ = {tau:g} treats {above:.1%} of "
        "its units one way and the rest the other. The line is what units with random top images would score.",
        f"Histogram of the best similarities of the units of {layer} with the threshold tau and the null.",
    )


@in_style
def figure_five(results: Results) -> Picture | None:
    """Figure 5 of the paper: descriptions of the units whose description is right, beside chance; None without any."""
    edit, layer = results.params.edit, tables.edited_layer(results)
    units = tables.of_dissection(results.units, edit.concept_set, edit.similarity_fn)
    shares = tables.description_shares(units[units["layer"] == layer], results.params.dissect.top_images)
    if shares.empty:
        return None
    more, shares = len(shares) - MOST_BARS, shares.head(MOST_BARS)
    rows = np.arange(len(shares))
    figure, axes = new_axes(6, 0.8 + 0.27 * len(shares))
    axes.barh(rows, 100 * shares["share"], color=SERIES[0], alpha=0.85, label="right descriptions")
    axes.plot(100 * shares["expected"], rows, "D", color=SERIES[1], markersize=5, label="by chance")
    null = tables.null_of(results, layer, edit.concept_set)
    random = dict(zip(null["concepts"], null["null_shares"], strict=True))
    drawn = [100 * random[name] for name in shares["description"]]
    axes.plot(drawn, rows, "|", color=INK, markersize=11, mew=2, label="random units")
    axes.set_yticks(rows, shares["description"])
    axes.invert_yaxis()
    axes.set_xlabel("% of the units with a right description")
    axes.grid(axis="x")
    axes.legend(loc="lower right")
    return Picture(
        "figure5",
        figure,
        f"Which concepts the rightly described units of {layer} carry (figure 5 of the paper). A bar that reaches no "
        "further than its diamond would be right as often by chance; the tick shows how often random top images "
        f"would get that name.{f' {more:,} rarer ones are left out.' if more > 0 else ''}",
        "Bars: share of each description among the rightly described units; diamonds: the same expected by chance; "
        "ticks: its share among units with random top images. "
        + "; ".join(f"{row.description} {row.share:.0%}" for row in shares.head(5).itertuples()),
    )


@in_style
def interpretable_shares(results: Results) -> Picture:
    """Table 1 as a figure: units above tau, and units that differ from chance, beside the untrained network."""
    function, fdr = results.params.edit.similarity_fn, results.params.dissect.fdr
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    rules = {"prop_interp": "% of units above τ", "prop_significant": f"% of units, FDR {fdr:.0%}"}
    for axes, (column, text) in zip(figure.subplots(2, 1, sharex=True), rules.items(), strict=True):
        for number, name in enumerate(results.concept_sets):
            layers = tables.of_dissection(results.layers, name, function)
            places = tables.places(results, layers)
            style = {"color": SERIES[number % len(SERIES)], "marker": MARKERS[number % len(MARKERS)], "markersize": 5}
            first = column == "prop_interp"
            axes.plot(places, 100 * layers[column], **style, label=name if first else None)
            if f"untrained_{column}" in layers:
                label = f"{name}, untrained network" if first else None
                values = 100 * layers[f"untrained_{column}"]
                axes.plot(places, values, **style, mfc="none", ls=":", alpha=0.8, label=label)
        name_ticks(axes.xaxis, results.layer_names, rotation=45, ha="right")
        axes.set(ylabel=text, ylim=(-4, 104))
        axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    return Picture(
        "interpretable",
        figure,
        "Units above the paper's τ, and units whose best similarity differs from random top images. Where the solid "
        "line runs no higher than the dotted one of the same network before training, the share says nothing about "
        "what training taught it.",
        "Lines: share of units above tau and share of significant units by layer for each concept set.",
    )


@in_style
def layer_accuracies(results: Results) -> Picture:
    """Overall accuracy of the descriptions by layer against chance, for every concept set."""
    function = results.params.edit.similarity_fn
    figure, axes = new_axes(6, stretched(4.4, len(results.layer_names), 16))
    names = results.concept_sets
    for number, name in enumerate(names):
        layers = tables.of_dissection(results.layers, name, function)
        places = np.array(tables.places(results, layers)) + 0.26 * (number - (len(names) - 1) / 2)
        accuracy, chance = 100 * layers["overall_acc"], 100 * layers["overall_chance"]
        axes.hlines(places, chance, accuracy, color=SERIES[number % len(SERIES)], linewidth=2)
        axes.plot(accuracy, places, MARKERS[number % len(MARKERS)], color=SERIES[number % len(SERIES)], label=name)
        axes.plot(chance, places, "|", color=MUTED, markersize=9, mew=2, label="chance" if name == names[-1] else None)
    name_ticks(axes.yaxis, results.layer_names)
    axes.invert_yaxis()
    axes.set_xlabel("accuracy of the descriptions, %")
    axes.grid(axis="x")
    figure.legend(loc="outside upper center", ncols=len(names) + 1)
    return Picture(
        "accuracies",
        figure,
        "How often a unit's top images are of a class that its description speaks for. The line runs from chance to "
        "the accuracy: its length is what the description adds.",
        "Dots: accuracy of the descriptions by layer; grey ticks: chance.",
    )


@in_style
def training_history(results: Results) -> Picture | None:
    """Loss and validation accuracy by epoch; None for given weights."""
    history = results.plot("history")
    if history.empty:
        return None
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    for number, name in enumerate(("train_loss", "val_loss")):
        loss.plot(
            history["epoch"],
            history[name],
            color=SERIES[number % len(SERIES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            label=name[:-5],
        )
    accuracy.plot(history["epoch"], 100 * history["val_accuracy"], color=SERIES[1], marker=MARKERS[1], markersize=4)
    best = history.loc[history["val_accuracy"].idxmax()]
    loss.set_ylabel("loss")
    loss.legend()
    accuracy.set(xlabel="epoch", ylabel="val accuracy, %")
    accuracy.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (loss, accuracy):
        axes.grid(axis="y")
    caption = f"Training of the baseline: best on val in epoch {best['epoch']:.0f} with {best['val_accuracy']:.1%}."
    return Picture(
        "history", figure, caption, "Lines: training and validation loss, and validation accuracy, by epoch."
    )
