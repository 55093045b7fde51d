"""The page's tables of the edits: what they change, what speaks against them, what the search found."""

from typing import Any

import pandas as pd

from emobench.edits.cross_fitted import IMAGES as FOLDED
from emobench.reporting import tables
from emobench.reporting.page_tables import NONE, SHARE, Table, text
from emobench.reporting.published import improving, published_replay
from emobench.reporting.results import Results
from emobench.reporting.words import signed
from emobench.settings.results import CROSS_FITTED


def leaderboard_table(results: Results) -> Table:
    """The judged edits on test by accuracy, with verdict and what speaks against them."""
    forms = {"holm_p": "{:.2g}", "control_p": "{:.3f}", "detectable_points": "{:.2f}"}
    rows = []
    for row in _judged(results):
        ends = "{} [{}, {}]".format(*(signed(100 * row[f"{end}_accuracy"]) for end in ("delta", "ci_low", "ci_high")))
        # The two p stand in columns of their own.
        more = [
            part for part in (row["why"] or "").split("; ") if part and not part.startswith(("Holm p", "random con"))
        ]
        by = {"paper": ["the paper's own"], CROSS_FITTED: ["by folds of val and test"]}.get(row["selected_on"], [])
        verdict = "; ".join([*by, row["verdict"], *more])
        cells = [row["config_id"], f"{row['accuracy']:.2%}", ends, f"{row['gains']:.0f} / {row['losses']:.0f}"]
        rows.append([*cells, *(text(row[name], form) for name, form in forms.items()), verdict])
    base = results.config(results.baseline_id)["accuracy"]
    caption = (
        f"Leaderboard on test. The baseline has {base:.2%}. One edit an arm, chosen on val, and the paper's own. "
        "p, Holm: exact McNemar, corrected over this table; control p: share of random controls that do as well (the "
        "harder kind). Detectable: the smallest gain in points that the test would have found in 80 of 100 cases, "
        "given how many answers the edit changes; none where it changes too few."
    )
    if any(row["selected_on"] == CROSS_FITTED for row in _judged(results)):
        caption += (
            f" {CROSS_FITTED}: chosen by folds of val and test together, every image judged by a choice that never saw "
            "it; one test of its own, by drawing signs."
        )
    head = ["edit", "accuracy", "points [interval]", "gains / losses", "p, Holm", "control p", "detectable", "verdict"]
    return Table(caption, head, rows, words=1, note=True)


def controls_table(results: Results) -> Table:
    """What the controls of the judged edits did on test."""
    forms = {
        "mcnemar_p": "{:.2g}", "control_p": "{:.3f}", "control_draws": "{:.0f}", "random_p95": "{:.2%}",
        "uniform_accuracy": "{:.2%}", "rows_differing": "{:,.0f}", "ci_high_nll_t": "{:+.4f}",
    }  # fmt: skip
    rows = [
        [row["config_id"], row["selected_on"], *(text(row[name], form) for name, form in forms.items())]
        for row in _judged(results)
    ]
    caption = (
        "What the controls of the judged edits did on test. p: exact McNemar; draws: how many random controls of the "
        "harder kind were drawn, fewer where they settled it early; 95 %: what 95 of 100 of them stay below; uniform: "
        "the best factor for all rows; rows: how many differ between the edit and its random controls; NLL: upper end "
        "of the change after temperature."
    )
    head = ["edit", "chosen on", "p", "control p", "draws", "95 %", "uniform", "rows", "NLL"]
    return Table(caption, head, rows, words=2)


def _judged(results: Results) -> list[dict[str, Any]]:
    """The verdicts on test, best first, and at the end the one on choosing by folds, where there is one."""
    judged, folded = (
        results.verdicts[results.verdicts["images"] == images].sort_values(
            ["accuracy", "config_id"], ascending=[False, True]
        )
        for images in ("test", FOLDED)
    )
    return [*judged.to_dict("records"), *folded.to_dict("records")]


def edits_table(results: Results) -> Table:
    """The metrics of baseline, paper's and chosen edit on every image set."""
    metrics = {
        "accuracy": "{:.2%}",
        "balanced_accuracy": "{:.2%}",
        "macro_f1": "{:.3f}",
        "top2": "{:.2%}",
        "nll": "{:.4f}",
    }
    metrics |= {"ece": "{:.4f}", "brier": "{:.4f}", "nll_t": "{:.4f}", "ece_t": "{:.4f}"}
    shown = {"baseline": results.baseline_id, **results.shown_edits()}
    rows = [
        [images, name, *(text(results.config(config_id, images).get(key), form) for key, form in metrics.items())]
        for images in results.image_sets
        for name, config_id in shown.items()
    ]
    heads = [key.replace("_t", ", calibrated").replace("_", " ") for key in metrics]
    caption = "Metrics on each image set. Calibrated: after dividing the logits by a temperature fitted on val."
    return Table(caption, ["images", "network", *heads], rows, words=2)


def verdicts_table(results: Results) -> Table:
    """Every configuration that was tested against the baseline."""
    table = results.verdicts
    forms = {
        "config_id": "{}",
        "selected_on": "{}",
        "images": "{}",
        "verdict": "{}",
        "gains": "{:.0f}",
        "losses": "{:.0f}",
    }
    forms |= {"mcnemar_p": "{:.3g}", "holm_p": "{:.3g}", "control_percentile": "{:.0f}"}
    forms = {name: form for name, form in forms.items() if name in table}
    rows = [[text(row[name], form) for name, form in forms.items()] for row in table.to_dict("records")]
    for cells, row in zip(rows, table.to_dict("records"), strict=True):
        ends = [row[f"{end}_accuracy"] for end in ("delta", "ci_low", "ci_high")]
        cells.append(NONE if any(map(pd.isna, ends)) else "{} [{}, {}]".format(*(signed(100 * end) for end in ends)))
    heads = [name.replace("_", " ").replace("mcnemar p", "p").replace("holm p", "p, Holm") for name in forms]
    words = sum(name in forms for name in ("config_id", "selected_on", "images", "verdict"))
    caption = (
        "Edits tested against the baseline, image by image: exact McNemar test, and the interval of the difference."
    )
    return Table(caption, [*heads, "points [interval]"], rows, words)


def class_table(results: Results) -> Table:
    """Recall, precision and F1 of every class on test for baseline, paper's and chosen edit."""
    shown = {"baseline": results.baseline_id, **results.shown_edits()}
    measured = {
        name: tables.per_class(results.confusion(config_id), results.classes) for name, config_id in shown.items()
    }
    rows = [
        [label, name, f"{row['images']:,}", *(text(row[key], SHARE) for key in ("recall", "precision", "f1"))]
        for label in results.classes
        for name, table in measured.items()
        for row in table[table["class"] == label].to_dict("records")
    ]
    return Table("Each class on test.", ["class", "network", "images", "recall", "precision", "F1"], rows, words=2)


def search_table(results: Results) -> Table:
    """What each search for scales got on val images that its scales were not fitted on."""
    forms = {
        "layers": "{}",
        "kind": "{}",
        "penalty": "{:g}",
        "exponent": "{:g}",
        "accuracy": "{:.2%}",
        "nll_t": "{:.4f}",
    }
    forms = {name: form for name, form in forms.items() if name in results.search}
    rows = [[text(row[name], form) for name, form in forms.items()] for row in results.search.to_dict("records")]
    split = results.params.edit.search.split
    caption = (
        f"Search for row scales on {split} images. Penalty: how strongly scales are held at 1; exponent: the power "
        "that they are raised to, 0 being the baseline. Accuracy and NLL (after a temperature) are cross-fitted: each "
        "image is scored by scales that never saw it."
    )
    return Table(caption, [name.replace("nll_t", "NLL") for name in forms], rows, words=2)


def published_table() -> Table:
    """The improving cells of the published grid with the smallest p that their confusion matrices allow."""
    cells = improving(published_replay())
    rows = [
        [f"{row.tau:g}", f"{row.factor:g}", f"{row.right:,}", signed(row.delta_points, 3), f"{row.min_mcnemar_p:.3f}"]
        for row in cells.itertuples()
    ]
    caption = (
        f"The paper's own grid, from its published confusion matrices alone: all {len(cells)} cells that improve, with "
        "the smallest exact McNemar p that any pairing of the two networks' answers allows. None could reach .05, even "
        "before correcting for the choice among them."
    )
    return Table(caption, ["τ", "factor", "right", "points", "smallest possible p"], rows, words=0)
