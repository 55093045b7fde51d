"""What each stage cost: seconds and peak memory of its latest run, and on what; no output of DVC's, it differs.

Memory and processor time are those of the stage's process and of all that it started, together; shared memory counts
once. Processor time says more than seconds where others work beside.
"""

import csv
import io
import json
import os
import platform
import resource
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emobench.failures import naming
from emobench.layout import Layout

FILE = "stage_costs.jsonl"
COLUMNS = ("stage", "seconds", "cpu_seconds", "peak_memory_mib", "precision", "cpu", "cores", "ended")
TABLE = {
    "stage": "stage",
    "seconds": "seconds",
    "cpu_seconds": "CPU seconds",
    "peak_memory_mib": "peak MiB",
    "precision": "precision",
    "ended": "ended (UTC)",
}
"""Columns of the table for people, and what it calls them."""
ENDED = "%Y-%m-%d %H:%M:%S"
LOOK_SECONDS, GROWN = 0.5, 0.02
"""Seconds between looks at the memory of several processes; by what share it must have grown to be counted exactly."""


@contextmanager
def measured(layout: Layout, stage: str) -> Iterator[None]:
    """Appends a line for the stage when the block ends without an exception."""
    start, spent = time.perf_counter(), _cpu_seconds()
    with _watched() as most:
        yield
    # The kernel saw every moment, but each process alone.
    most += [resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    row = {
        "benchmark": layout.name,
        "stage": stage,
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(_cpu_seconds() - spent, 1),
        "peak_memory_mib": max(most) // 2**20,
        "cpu": cpu_name(),
        "cores": cores(),
        "precision": _precision(layout, stage),
        "ended": f"{datetime.now(UTC):{ENDED}}",
    }
    path = layout.artifacts.parent / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), open(path, "a") as file:
        file.write(json.dumps(row) + "\n")


def cpu_name(info: Path = Path("/proc/cpuinfo")) -> str:
    """What the processor calls itself, else its architecture."""
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, names), platform.processor() or platform.machine())


def cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _precision(layout: Layout, stage: str) -> str:
    """The precision that a stage which trains wrote into its metrics; all others compute in float32."""
    path = layout.reports / f"{stage}.json"
    return json.loads(path.read_text()).get("precision", "float32") if path.is_file() else "float32"


def _cpu_seconds() -> float:
    """User and system seconds of this process, of all that it started and that have ended, and of those that run."""
    import psutil

    own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own + _total(psutil.Process().children(recursive=True), lambda child: sum(child.cpu_times()[:4]))


def _total(processes: Iterable[Any], measure: Callable[[Any], float]) -> float:
    """The sum of a measure over processes; what is gone counts nothing."""
    import psutil

    total = 0.0
    for process in processes:
        with suppress(psutil.Error):
            total += measure(process)
    return total


@contextmanager
def _watched() -> Iterator[list[int]]:
    """Looks at the memory of all processes from time to time: a list that gets the most bytes seen at once."""
    import psutil

    me, most, own, done = psutil.Process(), [0], 0.0, threading.Event()

    def watch() -> None:
        nonlocal own
        while not done.wait(LOOK_SECONDS):
            if children := me.children(recursive=True):
                # What is shared takes the kernel long to count: only when what is not has grown by more than a little.
                rough = _total([me, *children], _own_bytes)
                if rough > own * (1 + GROWN):
                    most[0], own = max(most[0], int(_total([me, *children], _bytes))), rough

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def _own_bytes(process: Any) -> int:
    """Memory of a process that it shares with none, roughly."""
    found = process.memory_info()
    return found.rss - getattr(found, "shared", 0)


def _bytes(process: Any) -> int:
    """Memory of a process, with its part of what it shares."""
    found = process.memory_full_info()
    return getattr(found, "pss", found.rss)


def latest(layout: Layout) -> list[dict[str, Any]]:
    """The latest cost of each stage of a benchmark, in the order in which the stages first ran.

    A stage whose result DVC took from its cache did not run: its row is that of the run that made the result here. A
    row of an earlier version has empty cells.
    """
    path: Path = layout.artifacts.parent / FILE
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    rows = [row for row in map(_row, lines) if row.keys() >= {"stage", "benchmark", "seconds"}]
    found = {row["stage"]: row for row in rows if row["benchmark"] == layout.name}
    return [{name: row.get(name, "") for name in COLUMNS} for row in found.values()]


def _row(line: str) -> dict[str, Any]:
    """A line's values; none of one that a killed run left torn."""
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def lines(rows: list[dict[str, Any]], form: str) -> list[str]:
    """What ``latest`` found as csv, or as a table for people with the whole and the machines below it."""
    if form == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().splitlines()
    if not rows:
        return ["no stage has run here yet; run dvc repro"]
    from tabulate import tabulate

    total = [
        "all",
        _running(rows),
        sum(row["cpu_seconds"] or 0 for row in rows),
        max(row["peak_memory_mib"] for row in rows),
    ]
    cells = [[row[name] for name in TABLE] for row in rows] + [total]
    machines = dict.fromkeys(f"on {row['cpu']}, {row['cores']} cores" for row in rows if row["cpu"])
    return [*tabulate(cells, [*TABLE.values()], floatfmt=".1f", disable_numparse=[4, 5]).splitlines(), *machines]


def _running(rows: list[dict[str, Any]]) -> float:
    """Seconds in which at least one stage ran: some run side by side. The sum, where a row has no second of its end."""
    try:
        ends = [datetime.strptime(row["ended"], ENDED).timestamp() for row in rows]
    except ValueError:
        return sum(row["seconds"] for row in rows)
    total = until = 0.0
    for start, end in sorted((end - row["seconds"], end) for end, row in zip(ends, rows, strict=True)):
        total, until = total + max(0.0, end - max(start, until)), max(until, end)
    return total
