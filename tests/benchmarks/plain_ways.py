"""Time counted in plain ways: how often the plain way of doing the same fits into the time of what is measured.

The plain way runs right before every round, so a slow or busy machine slows both. The clock hands pytest-benchmark that
quotient instead of seconds: its table, its storage and ``--benchmark-compare-fail`` then work on ratios.
"""

import resource
import statistics
import time
from collections.abc import Callable

SAVED = 3
"""Digits of what is kept beside the ratio."""


def cpu_seconds() -> float:
    """User and system time of this process and of its children that have ended: other work on the machine isn't in it."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class PlainWays:
    """A timer whose unit is the time of the plain way that was measured last."""

    __name__ = "plain_ways"  # pytest-benchmark files it by that

    def __init__(self) -> None:
        self.seconds, self.units = time.perf_counter, [1.0]

    def __call__(self) -> float:
        return self.seconds() / self.units[-1]

    def against(
        self, benchmark, plain: Callable, fast: Callable, *, floor: float, rounds: int = 5, times: float = 1.0,
        seconds: Callable[[], float] = cpu_seconds, plain_once: bool = False,
    ) -> None:  # fmt: skip
        """Measures ``fast`` in units of ``plain`` and fails below the floor.

        Args:
            benchmark: pytest-benchmark's fixture, with this timer.
            plain: the plain way, or a part of it.
            fast: what is measured.
            floor: least ratio: plain ways a time of ``fast``, the median of the rounds.
            rounds: how often both run, after a round that isn't counted.
            times: how many times the plain way's part is in the whole.
            seconds: the clock.
            plain_once: the plain way takes so long that it runs once for all rounds.
        """
        self.seconds, self.units = seconds, []

        def setup() -> None:
            if self.units and plain_once:
                self.units.append(self.units[-1])
                return
            start = seconds()
            plain()
            self.units.append((seconds() - start) * times)

        benchmark.pedantic(fast, setup=setup, rounds=rounds, warmup_rounds=1)
        taken = benchmark.stats.stats.data
        used = min(one * unit for one, unit in zip(taken, self.units[-rounds:], strict=True))
        ratio = 1 / statistics.median(taken)
        benchmark.extra_info |= {"ratio": ratio, "least_ratio": floor, "seconds": round(used, SAVED)}
        assert ratio >= floor, f"{ratio:.2f} times the plain way's speed; expected {floor} at least"


CLOCK = PlainWays()
