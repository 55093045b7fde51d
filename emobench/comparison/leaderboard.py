"""The leaderboard: baselines and judged edits of all benchmarks, from the small files in reports/.

Differences are edited minus baseline on the same images, in points (hundredths). Random controls are no entries.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emobench.comparison.board import as_latex, by_benchmark
from emobench.comparison.listing import listing
from emobench.comparison.places import NEEDED, chosen
from emobench.errors import UserError, unknown_name
from emobench.settings.results import CROSS_FITTED

COLUMNS = (
    "benchmark", "limited", "config_id", "layer", "arm", "tau", "factor", "accuracy", "delta_points", "low_points",
    "high_points", "detectable_points", "holm_p", "verdict", "selected_on",
)  # fmt: skip
BOUNDS = ("limited", "delta_points", "low_points", "high_points", "detectable_points")
LAST = ("holm_p", "verdict", "selected_on")
LOWER_IS_BETTER = {"nll", "nll_t", "brier", "ece", "ece_t"}
NO_METRIC = {"tau", "factor", "seed", "n_up", "n_down", "temperature"}


def leaderboard(
    folder: Path, names: Sequence[str] = (), *, sort: str = "accuracy", images: str = "test", top: int | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """The baseline of each benchmark and the edits that got a verdict, best first.

    Rows that are equal in the metric stay in the order of the benchmarks' names, the baseline before its edits.

    Args:
        folder: the reports folder.
        names: of benchmarks (a bare name is what ran here, else the reference); all of them without any.
        sort: a metric of configs.csv. Of losses and errors (nll, brier, ece) the lowest is the best.
        images: the image set: val, test, test_noleaks or val_test.
        top: how many rows at most.

    Returns:
        The rows (column -> value; ``low_points`` and ``high_points`` bound the interval of the difference,
        ``detectable_points`` is the smallest gain that the test would have found in 80 of 100 cases, None where no gain
        could be or the report is of an earlier version, ``limited`` marks a benchmark made with data.limit) and the
        columns in order, with the metric among them.

    Raises:
        UserError: no benchmark, or an unknown name, metric or image set.
    """
    found = chosen(folder, names)
    rows = [row for name, path in found.items() for row in _entries(name, path, images, sort)]
    if not rows:
        sets = dict.fromkeys(row["images"] for path in found.values() for row in _table(path / NEEDED))
        raise unknown_name("image set", images, sets)
    down = sort in LOWER_IS_BETTER
    rows.sort(key=lambda row: (row[sort] is None, (row[sort] or 0) * (1 if down else -1)))
    place = COLUMNS.index("accuracy") + 1
    columns = [*COLUMNS[:place], *([] if sort == "accuracy" else [sort]), *COLUMNS[place:]]
    return rows[:top], columns


def text(rows: Sequence[dict[str, Any]], columns: Sequence[str], form: str) -> str:
    """The leaderboard as table, latex or md for people, or as csv or json, which have all columns."""
    if form in ("csv", "json"):
        return listing(rows, columns, form)
    if form in ("table", "latex"):
        metric = columns[columns.index("accuracy") + 1]
        more = metric if metric not in COLUMNS else None
        return as_latex(rows, more) if form == "latex" else by_benchmark(rows, more)
    shown = _for_people(rows)
    return listing(shown, list(shown[0]), form)


def _for_people(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as people read them: percent, points with a sign, the interval in one column, the mark at the name."""
    shown = []
    for row in rows:
        low, high = row["low_points"], row["high_points"]
        written = {
            "benchmark": f"{row['benchmark']} (limited)" if row["limited"] else row["benchmark"],
            **{name: value for name, value in row.items() if name not in ("benchmark", "edit", *BOUNDS)},
            "accuracy": f"{row['accuracy']:.2%}",
            "points": None if row["delta_points"] is None else f"{row['delta_points']:+.2f}",
            "interval": None if low is None or high is None else f"{low:+.2f} to {high:+.2f}",
            "detectable": None if row["detectable_points"] is None else f"{row['detectable_points']:.2f}",
        }
        order = [name for name in written if name not in LAST]
        shown.append({name: written[name] for name in [*order, *LAST]})
    return shown


def _entries(name: str, folder: Path, images: str, sort: str) -> list[dict[str, Any]]:
    """The rows of one benchmark in the order of configs.csv."""
    configs = _table(folder / NEEDED)
    metrics = _metrics(configs)
    if sort not in metrics:
        raise unknown_name("metric to sort by", sort, metrics)
    verdicts: dict[str, list[dict[str, str]]] = {}
    if (folder / "verdicts.csv").is_file():
        for row in _table(folder / "verdicts.csv"):
            verdicts.setdefault(row["config_id"], []).append(row)
    limited, entries = _limited(folder), []
    for config in configs:
        judged = verdicts.get(config["config_id"], [])
        if config["images"] != images or config.get("control_of") or not (judged or config["arm"] == "baseline"):
            continue
        # On val, which chose the edits, nothing is tested.
        tested = next((row for row in judged if row["images"] == images), {})
        selected = ", ".join(dict.fromkeys(row["selected_on"] for row in judged)) or None
        layer = (config.get("layer") or None) if judged else None
        shared = {"benchmark": name, "limited": limited, "layer": layer, "selected_on": selected}
        entries.append(_entry(config, tested, sort) | shared)
    for row in verdicts.get(CROSS_FITTED, []) if images == "test" else []:
        layer = next((config.get("layer") or None for config in configs if config["arm"] != "baseline"), None)
        shared = {"benchmark": name, "limited": limited, "layer": layer, "selected_on": CROSS_FITTED}
        entries.append(_entry(row, row, sort) | shared)
    return entries


def _entry(config: Mapping[str, str], tested: Mapping[str, str], sort: str) -> dict[str, Any]:
    """What configs.csv says of one configuration, and verdicts.csv of its test."""
    return {
        "config_id": config["config_id"],
        "arm": config["arm"],
        "edit": _short(config),
        **{name: _number(config.get(name)) for name in ("tau", "factor", "accuracy", sort)},
        "delta_points": _points(tested.get("delta_accuracy")),
        "low_points": _points(tested.get("ci_low_accuracy")),
        "high_points": _points(tested.get("ci_high_accuracy")),
        "detectable_points": _number(tested.get("detectable_points")),
        "holm_p": _number(tested.get("holm_p")),
        "verdict": tested.get("verdict"),
    }


def _short(config: Mapping[str, str]) -> str:
    """An edit in a few words: its arm, what it selects, what it does."""
    chosen = (config.get("criterion") or "").partition(":")[2]
    operation = config.get("operation") or "rows"
    words = [config["arm"], chosen, operation.replace("_", "+") if operation != "rows" else ""]
    # A search has no factor: there it is the power that its scales were raised to.
    times = "^" if config["arm"].startswith("search_") else "x"
    numbers = {"tau ": _number(config.get("tau")), times: _number(config.get("factor"))}
    words += [f"{name}{number:g}" for name, number in numbers.items() if number is not None]
    return " ".join(word for word in words if word)


def _metrics(configs: list[dict[str, str]]) -> list[str]:
    """The columns of configs.csv that say how good a network is: numbers, and no setting."""
    return [name for name in configs[0] if name not in NO_METRIC and _number(configs[0][name]) is not None]


def _limited(folder: Path) -> bool:
    """Whether the benchmark was made with data.limit, so that no number counts."""
    path = folder / "compare.json"
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("limited")) if path.is_file() else False
    except (ValueError, AttributeError, RecursionError):
        raise UserError(f"{path} is not valid JSON; remove it and run dvc repro compare") from None


def _table(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no csv table ({error}); remove it and run dvc repro report") from None
    if not rows or not {"config_id", "images", "arm"} <= rows[0].keys() or None in rows[-1].values():
        raise UserError(f"{path} is empty or cut short; remove it and run dvc repro report")
    return rows


def _number(text: str | None) -> float | None:
    """The finite number that a cell holds; None for anything else."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _points(text: str | None) -> float | None:
    value = _number(text)
    return None if value is None else round(100 * value, 6)
