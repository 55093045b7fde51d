"""What each stage cost on this machine: seconds and peak memory of its latest run; no output of DVC's, it differs.

Memory is that of the stage's process and of all that it started, together; what they share counts once.
"""

import json
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emobench.layout import Layout

FILE = "stage_costs.jsonl"
LOOK_SECONDS = 0.5


@contextmanager
def measured(layout: Layout, stage: str) -> Iterator[None]:
    """Appends a line for the stage when the block ends without an exception."""
    start = time.perf_counter()
    with _watched() as most:
        yield
    # The kernel saw every moment, but each process alone.
    most += [resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    row = {
        "benchmark": layout.name,
        "stage": stage,
        "seconds": round(time.perf_counter() - start, 1),
        "peak_memory_mib": max(most) // 2**20,
    }
    path = layout.artifacts.parent / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        file.write(json.dumps(row) + "\n")


@contextmanager
def _watched() -> Iterator[list[int]]:
    """Looks at the memory of all processes from time to time: a list that gets the most bytes seen at once."""
    import psutil

    me, most, done = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(LOOK_SECONDS):
            if children := me.children(recursive=True):
                most[0] = max(most[0], sum(map(_bytes, [me, *children])))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def _bytes(process: Any) -> int:
    """Memory of a process, with its part of what it shares; 0 if it is gone."""
    import psutil

    try:
        found = process.memory_full_info()
        return getattr(found, "pss", found.rss)
    except psutil.Error:
        return 0


def latest(layout: Layout) -> list[dict[str, str | float]]:
    """The latest cost of each stage of a benchmark, in the order in which the stages first ran."""
    path: Path = layout.artifacts.parent / FILE
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return list({row["stage"]: row for row in rows if row["benchmark"] == layout.name}.values())
