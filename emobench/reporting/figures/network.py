"""The figure of the network itself (figure 2 of the paper, for any network): its layers, their units, their edits."""

import numpy as np

from emobench.reporting import tables
from emobench.reporting.figures.style import INK, SERIES, Picture, in_style, name_ticks, new_axes, stretched
from emobench.reporting.results import Results

WAYS = {"quick": SERIES[0], "cut": SERIES[5], "whole": SERIES[3]}
"""How edits of a layer are evaluated, and the colour that says so."""
MEANINGS = {"quick": "only what changes", "cut": "what follows the layer", "whole": "all of the network"}


def draw(results: Results) -> list[Picture]:
    """All figures of this module."""
    return [layers(results)]


@in_style
def layers(results: Results) -> Picture:
    """Every layer with units from input to logits: how many units, whether recorded, how an edit is evaluated."""
    card, edited = results.network, set(tables.edited_layer(results).split("+"))
    units = np.array([layer.units for layer in card.layers])
    recorded = {layer.name for layer in card.chosen}
    figure, axes = new_axes(6, stretched(3.8, len(units), 12))
    for place, layer in enumerate(card.layers):
        own = layer.name in edited
        axes.barh(
            place, layer.units, color=WAYS[layer.way], alpha=0.9 if layer.name in recorded else 0.25,
            edgecolor=INK if own else "none", linewidth=1.8 if own else 0, height=0.72,
        )  # fmt: skip
        grid = f"{layer.units:,}" + (f" × {'×'.join(map(str, layer.grid))}" if layer.grid else "")
        if len(units) <= 40:
            axes.text(layer.units * 1.08, place, grid, va="center", size=8.5)
    for way in dict.fromkeys(layer.way for layer in card.layers):
        axes.barh(0, 0, color=WAYS[way], label=f"{way}: {MEANINGS[way]}")
    axes.set_xscale("log")
    axes.set(xlim=(max(1, units.min() / 2), units.max() * 6), ylim=(len(units) - 0.4, -0.6), xlabel="units")
    name_ticks(axes.yaxis, [layer.name for layer in card.layers])
    figure.legend(loc="outside upper center", ncols=2)
    products = sum(layer.products for layer in card.layers)
    return Picture(
        "network",
        figure,
        f"The network from input to logits: units of each layer (times places in the picture), {products:,} "
        "multiplications an image. The colour says what is computed anew for an edit; the framed layer is the edited "
        "one, pale ones were not recorded.",
        f"Bars: units of the {len(units)} layers, coloured by how their edits are evaluated.",
    )
