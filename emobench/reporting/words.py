"""What is told in words on pages, in cards and in figures: numbers, edits, the data and the network."""

from collections.abc import Sequence

import pandas as pd

from emobench.reporting.results import Results

MOST_LISTED = 20
"""Names that a sentence lists."""


def short_name(images: str) -> str:
    """An image set's name as a title."""
    return {"val": "validation", "val_test": "validation + test"}.get(images, images)


def plain(value: float) -> str:
    """A number with a true minus."""
    return f"{value:g}".replace("-", "−")


def signed(points: float, decimals: int = 2) -> str:
    """A difference with its sign and a true minus; from 10 on without decimals, to fit into a cell."""
    return f"{points:+.{0 if abs(points) >= 10 else decimals}f}".replace("-", "−")


def describe(config: pd.Series) -> str:
    """An edit in words: layer, arm, what it selects by, threshold, factor."""
    parts = [config["layer"], config["arm"]]
    if pd.notna(config["criterion"]) and config["criterion"] != config["arm"]:
        parts.append(str(config["criterion"]).partition(":")[2] or str(config["criterion"]))
    if pd.notna(config["operation"]) and config["operation"] != "rows":
        parts.append(str(config["operation"]).replace("_", " and "))
    parts += [
        f"{sign} {plain(config[key])}" for key, sign in (("tau", "τ"), ("factor", "factor")) if pd.notna(config[key])
    ]
    return ", ".join(parts)


def listed(names: Sequence[str]) -> str:
    """Names with commas, not too many of them."""
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def pictures_of(results: Results) -> str:
    """What the pictures are, in a few words."""
    if results.fer2013:
        return "photos of FER2013"
    return results.card.source if results.private else "drawn faces"


def data_sentence(results: Results) -> str:
    """What the data at hand are."""
    card, colours = results.card, "grey" if results.card.channels == 1 else "RGB"
    counts = ", ".join(f"{count:,} {split}" for split, count in card.counts.items())
    return (
        f"The images: {pictures_of(results)}, stored as {colours} pictures of {card.size} x {card.size} pixels. "
        f"There are {counts} images of {len(card.classes)} classes: {listed(card.classes)}."
    )


def architecture(results: Results) -> str:
    """The network's architecture with its options."""
    options = ", ".join(f"{name} {value}" for name, value in results.network.options.items())
    return f"{results.network.architecture} ({options})" if options else results.network.architecture


def network_sentence(results: Results) -> str:
    """What the network at hand is."""
    card, origin = results.network, "trained here" if results.params.network.source == "train" else "with given weights"
    takes = " x ".join(map(str, (card.input.channels, *card.input.size)))
    text = (
        f"The network: {architecture(results)}, {origin}; it takes {takes} values an image. {len(card.chosen)} of its "
        f"{len(card.layers)} layers with units were recorded."
    )
    if card.whole:
        text += f" All of it runs for every edit: {card.whole}."
    return text if card.agrees else f"{text} Two passes over the same images gave different answers."
