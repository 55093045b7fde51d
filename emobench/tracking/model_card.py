"""The model card of a network that is registered, as Markdown."""

from pathlib import Path

from emobench.reporting import tables
from emobench.reporting.results import IMAGE_SETS, Results
from emobench.reporting.text import rendered
from emobench.reporting.words import MOST_LISTED, architecture, describe, listed, signed
from emobench.settings.network import file_of


def model_card(results: Results, config_id: str) -> str:
    """What the network is, what it was measured to do, what it is for and what it must not be used for: Markdown."""
    edited, params, data = config_id != results.baseline_id, results.params, results.card
    configs = {images: results.config(config_id, images) for images in results.image_sets}
    measured = [
        {
            "images": IMAGE_SETS[images],
            "number": int(results.confusion(config_id, images).sum()),
            "accuracy": row["accuracy"],
            "baseline": results.config(results.baseline_id, images)["accuracy"],
        }
        for images, row in configs.items()
    ]
    recalls = {name: configs["test"][f"recall_{name}"] for name in results.classes}
    lowest = dict(sorted(recalls.items(), key=lambda item: item[1])[:MOST_LISTED])
    return rendered(
        "model_card.md",
        title=f"{params.name}: {'an edited network' if edited else 'the network as it is'}",
        what=f"{architecture(results)}, {'edited: ' + describe(configs['test']) if edited else 'the baseline'}.",
        data=data,
        listed=listed(results.classes),
        fer2013=results.fer2013,
        label_noise=params.data.synthetic.label_noise if params.data.source == "synthetic" else 0,
        file=Path(file_of(results.network.architecture)[0]).name,
        trained=params.network.source == "train",
        precision=results.precision("network"),
        limited=results.limited,
        edited=edited,
        measured=measured,
        recalls=recalls if len(recalls) <= MOST_LISTED else lowest,
        verdict=_verdict(results, config_id) if edited else "",
    )


def _verdict(results: Results, config_id: str) -> str:
    """The difference on test with its interval and p-value, in words."""
    row = tables.verdict_of(results, config_id)
    delta, low, high = (100 * row[f"{name}_accuracy"] for name in ("delta", "ci_low", "ci_high"))
    interval = f"{results.params.compare.confidence:.0%} interval {signed(low)} to {signed(high)}"
    return f"{signed(delta)} points ({interval}; Holm p = {row['holm_p']:.2g}), {row['verdict']}"
