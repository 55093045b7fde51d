"""Time counted in plain ways: how often the plain way of doing the same fits into the time of what is measured.

The plain way runs right before every round, so a slow or busy machine slows both. The clock hands pytest-benchmark that
quotient instead of seconds: its table, its storage and ``--benchmark-compare-fail`` then work on ratios.
"""

import resource
import time
from collections.abc import Callable


def cpu_seconds() -> float:
    """User and system time of this process and of its ended children: other work on the machine isn't in it."""
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
        self, benchmark, plain: Callable, tool: Callable, *, floor: float, rounds: int = 5, times: float = 1.0,
        seconds: Callable[[], float] = cpu_seconds, plain_rounds: int | None = None,
    ) -> None:  # fmt: skip
        """Measures ``tool`` in units of ``plain`` and fails below the floor.

        Args:
            benchmark: pytest-benchmark's fixture, with this timer.
            plain: the plain way, or a part of it.
            tool: what is measured.
            floor: least ratio of the plain way's shortest time to the tool's, both of all rounds that count.
            rounds: how often both run, after a round that doesn't count.
            times: how many times the plain way's part is in the whole.
            seconds: the clock.
            plain_rounds: how often the plain way runs at all, where it takes long; None for every round.
        """
        self.seconds, self.units = seconds, []

        def setup() -> None:
            if plain_rounds is not None and len(self.units) >= plain_rounds:
                self.units.append(min(self.units))
                return
            start = seconds()
            plain()
            self.units.append((seconds() - start) * times)

        benchmark.pedantic(tool, setup=setup, rounds=rounds, warmup_rounds=1)
        units = self.units[-rounds:]
        shortest = min(one * unit for one, unit in zip(benchmark.stats.stats.data, units, strict=True))
        ratio = min(units) / shortest
        benchmark.extra_info |= {"ratio": ratio, "least_ratio": floor, "seconds": shortest}
        assert ratio >= floor, f"{ratio:.2f} times the plain way's speed; expected {floor} at least"


CLOCK = PlainWays()
