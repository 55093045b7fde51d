"""The layers of the network that params.yaml asks for, without its weights: names, units, cost, and how edits run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emobench.faces.sources import look_at
from emobench.networks.asked import asked_network
from emobench.networks.card import LayerCard, NetworkCard
from emobench.params import Params
from emobench.vocabulary.class_names import canonical_class

HEADS = ("layer", "kind", "units", "outputs", "multiplications", "way", "recorded", "edited")


def asked_card(params: Params, root: Path) -> NetworkCard:
    """The card of the network, built with random weights.

    Raises:
        UserError: it can't be built, or the images, which tell the classes, can't be read.
    """
    named = params.network.classes if params.network.source == "weights" else ()
    classes = tuple(map(canonical_class, named)) or look_at(params.data, root / params.data.input).classes
    return asked_network(params.network, classes, seed=params.seed, root=root, bare=True).card


def layer_rows(card: NetworkCard) -> list[dict[str, Any]]:
    """One row a layer, in the order of computation.

    ``recorded``: chosen by network.layers; ``editable``: an edit may take it, which the outputs are not; ``reason``:
    why all of the network runs for every edit, empty where it doesn't.
    """
    chosen, free = set(card.chosen), set(card.editable)
    return [
        {
            "layer": layer.name,
            "kind": layer.kind,
            "units": layer.units,
            "axis": layer.axis,
            "grid": list(layer.grid),
            "tokens": layer.tokens,
            "multiplications": layer.products,
            "way": layer.way,
            "recorded": layer in chosen,
            "editable": layer in free,
            "reason": (card.whole or "the graph can't be cut there") if layer.way == "whole" else "",
        }
        for layer in card.layers
    ]


def layer_lines(card: NetworkCard) -> list[str]:
    """The same as a table for people, and a line on what isn't said in it."""
    chosen, free = set(card.chosen), set(card.editable)
    rows = [HEADS] + [
        (
            layer.name, layer.kind, f"{layer.units:,}", _outputs(layer), f"{layer.products:,}", layer.way,
            "yes" if layer in chosen else "no", "may be" if layer in free else "no",
        )
        for layer in card.layers
    ]  # fmt: skip
    said = [f"whole, since there is no graph: {card.whole}"] if card.whole else []
    ways = (
        "quick: only what changes up to the next linear layer; cut: what follows the layer; whole: all of the network"
    )
    return [*_columns(rows), "", f"way: what is computed anew for an edit. {ways}", *said]


def _outputs(layer: LayerCard) -> str:
    """Where a unit's outputs lie: on a grid, on tokens, or one an image."""
    if layer.grid:
        return "x".join(map(str, layer.grid))
    return f"{layer.tokens} tokens" if layer.tokens else "1"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = {HEADS.index("units"), HEADS.index("multiplications")}
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
