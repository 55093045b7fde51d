"""What each stage cost on this machine: seconds and peak memory of its latest run; no output of DVC's, it differs."""

import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emobench.layout import Layout

FILE = "stage_costs.jsonl"


@contextmanager
def measured(layout: Layout, stage: str) -> Iterator[None]:
    """Appends a line for the stage when the block ends without an exception."""
    start = time.perf_counter()
    yield
    kibibytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    row = {
        "benchmark": layout.name,
        "stage": stage,
        "seconds": round(time.perf_counter() - start, 1),
        "peak_memory_mib": kibibytes // 1024,
    }
    path = layout.artifacts.parent / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        file.write(json.dumps(row) + "\n")


def latest(layout: Layout) -> list[dict[str, str | float]]:
    """The latest cost of each stage of a benchmark, in the order in which the stages first ran."""
    path: Path = layout.artifacts.parent / FILE
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return list({row["stage"]: row for row in rows if row["benchmark"] == layout.name}.values())
