"""Measures how time and memory grow: python tests/benchmarks/growth.py [--out reports/growth] [--only NAME]

Each point runs in a process of its own, on one core, seeded. ``seconds`` are processor seconds of the work alone;
``memory_mib`` is the most memory that the work took beyond what its process held before (anonymous pages: those of a
mapped file go back to the system when it needs them), ``rss_mib`` the process's peak with everything.
Writes growth.csv, growth.svg and README.md.
"""

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
OUT = HERE.parents[1] / "reports" / "growth"
SIZES = {
    "images": (1_000, 10_000, 100_000),
    "concepts": (25, 250, 2_500, 20_000),
    "units": (64, 512, 4_096, 16_384),
    "configurations": (100, 1_000, 10_000, 100_000),
}
EVERY = 0.005
"""Seconds between two looks at the memory."""


class Memory:
    """The most anonymous memory that this process holds inside the block beyond what it held before, in MiB."""

    def __enter__(self) -> "Memory":
        Path("/proc/self/clear_refs").write_text("5")  # the system's own peak starts anew
        self._done, self.before = threading.Event(), status("RssAnon")
        self._most = self.before
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._done.wait(EVERY):
            self._most = max(self._most, status("RssAnon"))

    def __exit__(self, *error: object) -> None:
        self._most = max(self._most, status("RssAnon"))
        self._done.set()
        self._thread.join()

    @property
    def most(self) -> float:
        return self._most - self.before


def status(name: str) -> float:
    """A line of this process's status in MiB."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0]) / 1024


def measured_here(name: str, size: int) -> dict[str, float]:
    """Runs one point in this process."""
    import growth_parts

    with tempfile.TemporaryDirectory() as folder:
        work, warm_up = growth_parts.PARTS[name][1](Path(folder), size)
        warm_up()
        started = time.process_time()
        with Memory() as memory:
            kept = work()
        seconds = time.process_time() - started
        del kept
    return {"seconds": seconds, "memory_mib": memory.most, "rss_mib": status("VmHWM")}


def points(only: str) -> Iterator[tuple[str, str, int]]:
    """Name, axis and size of every point."""
    import growth_parts

    growth_parts.load()
    for name, (axis, _) in growth_parts.PARTS.items():
        for size in SIZES[axis]:
            if only in name:
                yield name, axis, size


def run(name: str, size: int) -> dict[str, float]:
    """Runs one point in a process of its own: forked from this one, whose imports it then has for nothing."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=lambda: sender.send(measured_here(name, size)))
    process.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError:
        sys.exit(f"growth: {name} at {size} ended without a result")
    process.join()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", default="", help="parts whose name has this in it")
    options = parser.parse_args()
    import growth_report
    import torch

    torch.set_num_threads(1)  # before any work: a process with threads of its own must not be forked

    rows = []
    try:
        for name, axis, size in points(options.only):
            rows.append({"part": name, "axis": axis, "size": size, **run(name, size)})
            print("{part:32} {size:>8} {axis:15} {seconds:9.3f} s {memory_mib:9.1f} MiB".format(**rows[-1]), flush=True)
    finally:  # also what an interrupted run has measured
        growth_report.write(options.out, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
