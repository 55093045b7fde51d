"""Figures that hold the edits against luck: random controls, p-values, intervals."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emobench.edits.family import LEVEL
from emobench.functional.binomial import sign_test
from emobench.reporting import tables
from emobench.reporting.figures.style import INK, MUTED, SERIES, Picture, in_style, name_ticks, new_axes, stretched
from emobench.reporting.results import Results
from emobench.reporting.words import describe

KINDS = {"random": SERIES[0], "decile": SERIES[5]}
VERDICT_COLORS = {"improves": SERIES[2], "harms": SERIES[1]}


def draw(results: Results) -> list[Picture]:
    """All figures of this module."""
    found = [strategies(results), volcano(results), beside_controls(results), class_intervals(results)]
    return [picture for picture in found if picture is not None]


@in_style
def strategies(results: Results) -> Picture:
    """The judged edit of each selection strategy on test, ranked, beside its random controls and all other edits."""
    rows = results.verdicts[results.verdicts["images"] == "test"].sort_values("delta_accuracy", kind="stable")
    edits = tables.differences(results, "test")
    on_val = tables.differences(results, "val").set_index("config_id")["points"]
    figure, axes = new_axes(7.4, 1.4 + 0.36 * len(rows))
    for place, row in enumerate(rows.to_dict("records")):
        _strategy(axes, results, place, row, edits[edits["arm"] == row["arm"]], float(on_val[row["config_id"]]))
    handles = {"judged edit with interval": "D", "the same on validation": "o"}
    for (label, marker), face in zip(handles.items(), (INK, "none"), strict=True):
        axes.plot([], [], marker, color=INK, mfc=face, markersize=5, label=label)
    axes.plot([], [], "|", color=MUTED, label="other edits of the strategy")
    for kind, color in KINDS.items():
        axes.plot([], [], color=color, linewidth=5, alpha=0.35, label=f"90% of {kind} controls")
    axes.axvline(0, color=MUTED, linewidth=0.8)
    ends = 100 * rows[["ci_low_accuracy", "ci_high_accuracy"]].to_numpy()
    low, high = min(ends.min(), on_val[rows["config_id"]].min()), max(ends.max(), on_val[rows["config_id"]].max())
    room = 0.08 * max(high - low, 0.1)
    axes.set(xlim=(low - room, high + room), xlabel="points against the baseline, test")
    names = rows["arm"].where(rows["selected_on"] != "paper", "the paper's cell")
    name_ticks(axes.yaxis, names.tolist())
    axes.grid(axis="x")
    figure.legend(loc="outside upper center", ncols=2)
    confidence = results.params.compare.confidence
    return Picture(
        "strategies",
        figure,
        "The edit that each selection strategy chose on validation, by what it changes on test, with its "
        f"{confidence:.0%} interval. An interval that crosses 0 may be luck; a diamond inside its bands owes nothing "
        "to which units were chosen. An open circle far to the right of its diamond was chosen by luck.",
        "Ranked dots with intervals: change of accuracy of each strategy's judged edit, beside its random controls.",
    )


def _strategy(
    axes: Axes, results: Results, place: int, row: Mapping[str, Any], edits: pd.DataFrame, on_val: float
) -> None:
    """One line of the figure."""
    name = "paper" if row["selected_on"] == "paper" else row["arm"]
    base = results.config(results.baseline_id)["accuracy"]
    drawn = tables.controls_of(results, row["config_id"], name, "test")
    for shift, (kind, color) in zip((-0.17, 0.17), KINDS.items(), strict=True):
        values = 100 * (drawn.loc[drawn["arm"] == kind, "accuracy"] - base)
        if len(values):
            low, high = values.quantile([0.05, 0.95])
            axes.plot([low, high], [place + shift] * 2, color=color, linewidth=5, alpha=0.35, solid_capstyle="butt")
    axes.plot(edits["points"], np.full(len(edits), place), "|", color=MUTED, markersize=5, alpha=0.5)
    color = VERDICT_COLORS.get(row["verdict"], INK)
    ends = [100 * row["ci_low_accuracy"], 100 * row["ci_high_accuracy"]]
    axes.plot(ends, [place] * 2, color=color, linewidth=1.6)
    axes.plot(100 * row["delta_accuracy"], place, "D", color=color, markersize=5.5)
    axes.plot(on_val, place, "o", color=color, mfc="none", markersize=5)


@in_style
def volcano(results: Results) -> Picture:
    """Difference on test against -log10 of the uncorrected exact McNemar p of every edit and random control."""
    figure, axes = new_axes(4.6, 4.2)
    p_values = {
        kind: exact_p_values(results, ids)
        for kind, ids in (("control", results.control_ids), ("edit", results.edit_ids))
        if len(ids)
    }
    styles = {"control": (MUTED, 2.2, 0.35, "random controls"), "edit": (SERIES[0], 4, 0.8, "edits")}
    for kind, table in p_values.items():
        color, size, alpha, label = styles[kind]
        axes.plot(
            table["points"], -np.log10(table["p"]), "o", color=color, markersize=size, alpha=alpha, mew=0, label=label
        )
    verdicts = results.verdicts[results.verdicts["images"] == "test"].drop_duplicates("config_id")
    for row in verdicts.to_dict("records"):
        color = VERDICT_COLORS.get(row["verdict"], INK)
        axes.plot(
            100 * row["delta_accuracy"], -np.log10(row["mcnemar_p"]), "D", color=color, markersize=5.5, mfc="none"
        )
    axes.plot([], [], "D", color=INK, mfc="none", label="judged (best on val of its arm)")
    axes.axhline(-math.log10(LEVEL), color=INK, linestyle="--", linewidth=0.9)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.set_xlim(max(-8.0, *[table["points"].min() for table in p_values.values()]) - 0.2, None)
    axes.set_ylim(-0.1, 8)
    axes.set(xlabel="points against the baseline, test", ylabel="−log10 p (exact McNemar)")
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    return Picture(
        "volcano",
        figure,
        "Every edit by what it changes and how surely. An improvement stands on the right above the dashed line "
        f"(p = {LEVEL}); with this many edits some would by luck, so that only the framed ones, chosen on val, count. "
        "Edits that break the network lie outside on the left or above.",
        "Scatter of accuracy difference against minus log10 p for all edits and random controls.",
    )


def exact_p_values(results: Results, config_ids: list[str]) -> pd.DataFrame:
    """Difference in points and exact two-sided McNemar p on test of many configurations: config_id, points, p."""
    at, labels = results.columns_of("test")
    answers = results.predictions[:, at]
    base = answers[results.config_ids.index(results.baseline_id)] == labels
    rows = []
    for name in config_ids:
        right = answers[results.config_ids.index(name)] == labels
        rows.append((int((right & ~base).sum()), int((base & ~right).sum())))
    gains, losses = np.array(rows).T
    points = 100 * (gains - losses) / len(labels)
    return pd.DataFrame({"config_id": config_ids, "points": points, "p": np.maximum(sign_test(gains, losses), 1e-300)})


@in_style
def beside_controls(results: Results) -> Picture | None:
    """The chosen and the paper's edit inside the distribution of their random controls, on test; None without any."""
    edits = {name: config_id for name, config_id in results.shown_edits().items()}
    pairs = {
        name: tables.controls_of(results, one, tables.accompanied_name(results, one), "test")
        for name, one in edits.items()
    }
    pairs = {name: table for name, table in pairs.items() if len(table)}
    if not pairs:
        return None
    figure = Figure(figsize=(7.4, 0.6 + 2.5 * len(pairs)), layout="constrained")
    base = results.config(results.baseline_id)["accuracy"]
    for axes, (name, table) in zip(figure.subplots(len(pairs), squeeze=False).flat, pairs.items(), strict=True):
        _beside(axes, results, edits[name], table.assign(points=100 * (table["accuracy"] - base)), name)
    figure.axes[-1].set_xlabel("points against the baseline, test")
    return Picture(
        "controls",
        figure,
        "The picture that matters: the edit (orange) among edits that do the same to units drawn at random, each with "
        "the same search on val. An edit that owes its gain to the units it chose stands to the right of them, and of "
        "one factor for all rows (grey).",
        "Histograms of the accuracy change of random controls with the edit, uniform and inverse controls as lines.",
    )


def _beside(axes: Axes, results: Results, config_id: str, controls: pd.DataFrame, name: str) -> None:
    own = 100 * (results.config(config_id)["accuracy"] - results.config(results.baseline_id)["accuracy"])
    drawn = controls[controls["arm"].isin(KINDS)]
    edges = np.histogram_bin_edges([*drawn["points"], own, 0], bins=40)
    for kind, color in KINDS.items():
        values = drawn.loc[drawn["arm"] == kind, "points"]
        # Shares: a kind that stopped early has fewer draws.
        shares = np.full(len(values), 1 / max(1, len(values)))
        axes.hist(
            values, bins=edges.tolist(), weights=shares, color=color, alpha=0.6, label=f"{len(values)} {kind} controls"
        )
    lines = {"uniform": (MUTED, "--"), "inverse": (MUTED, ":")}
    for kind, (color, style) in lines.items():
        for value in controls.loc[controls["arm"] == kind, "points"]:
            axes.axvline(value, color=color, linestyle=style, linewidth=1.4, label=kind)
    axes.axvline(own, color=SERIES[1], linewidth=2.2, label=name)
    axes.set_title(f"{name}: {describe(results.config(config_id))}", fontweight="normal", size=9.5)
    axes.set_ylabel("share of draws")
    axes.legend(loc="upper left", fontsize=8.5)


@in_style
def class_intervals(results: Results) -> Picture | None:
    """Change of each class's recall on test with its interval, for the shown edits; None if there is neither."""
    edits = results.shown_edits()
    if not edits:
        return None
    figure, axes = new_axes(4.6, stretched(4, len(results.classes), 10))
    for number, (name, config_id) in enumerate(edits.items()):
        row = tables.verdict_of(results, config_id)
        places = np.arange(len(results.classes)) + 0.3 * (number - (len(edits) - 1) / 2)
        ends = np.array(
            [
                [100 * row[f"{end}_recall_{label}"] for label in results.classes]
                for end in ("ci_low", "ci_high", "delta")
            ]
        )
        axes.hlines(places, ends[0], ends[1], color=SERIES[number], linewidth=2)
        axes.plot(ends[2], places, "o", color=SERIES[number], markersize=5, label=name)
    support = results.confusion(results.baseline_id).sum(1)
    axes.axvline(0, color=INK, linewidth=1)
    names = [f"{name} ({count:,})" for name, count in zip(results.classes, support, strict=True)]
    name_ticks(axes.yaxis, names)
    axes.invert_yaxis()
    axes.set_xlabel("change of recall on test, points")
    axes.grid(axis="x")
    figure.legend(loc="outside upper center", ncols=2)
    confidence = results.params.compare.confidence
    return Picture(
        "recalls",
        figure,
        f"Who pays: change of each class's recall on the test images (their number in brackets), with its "
        f"{confidence:.0%} interval. One that crosses 0 may be luck.",
        "Dots with intervals: change of recall by class for the shown edits.",
    )
