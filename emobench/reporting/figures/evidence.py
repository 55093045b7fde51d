"""The report's figures of how far descriptions can be trusted: effect sizes, held-out evidence, change."""

from typing import Any

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
    for number, name in enumerate(results.concept_sets):
        layers = tables.of_dissection(results.layers, name, function)
        places = tables.places(results, layers)
        style: dict[str, Any] = {
            "color": SERIES[number % len(SERIES)],
            "marker": MARKERS[number % len(MARKERS)],
            "markersize": 5,
        }
        axes.plot(places, layers["effect"], **style, label=name)
        if "untrained_effect" in layers:
            label = f"{name}, untrained network"
            axes.plot(places, layers["untrained_effect"], **style, mfc="none", ls=":", alpha=0.8, label=label)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_yscale("symlog", linthresh=3)
    name_ticks(axes.xaxis, results.layer_names, rotation=45, ha="right")
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
    figure, axes = new_axes(6, stretched(4.6, len(results.layer_names), 16))
    places = tables.places(results, trained)
    axes.hlines(places, trained["random"], trained["described"], color=SERIES[0], linewidth=2)
    axes.plot(trained["described"], places, "o", color=SERIES[0], label="description")
    for name, (marker, color) in CONTROLS.items():
        label = {"best": "best possible", "random": "random", "constant": "same for all units"}[name]
        axes.plot(
            trained[name], places, marker, color=color, markersize=9 if marker == "|" else 4, mew=1.5, label=label
        )
    untrained = rows[rows["network"] == "untrained"]
    if len(untrained):
        spots = [place + 0.28 for place in tables.places(results, untrained)]
        style: dict[str, Any] = {"color": SERIES[0], "mfc": "none", "markersize": 4, "alpha": 0.8}
        axes.plot(untrained["described"], spots, "o", **style, label="description, untrained network")
    name_ticks(axes.yaxis, results.layer_names)
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
        places = tables.places(results, layers)
        axes.plot(
            places,
            100 * layers[name],
            color=SERIES[number % len(SERIES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
            label=label,
        )
    name_ticks(axes.xaxis, results.layer_names, rotation=45, ha="right")
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
