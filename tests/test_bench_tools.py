"""What the speed tools make of their measurements; that they measure at all is seen by ``make bench``."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture
def tools(monkeypatch):
    """The modules beside the benchmarks, which are no package."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import compare_bases
    import growth_report
    import plain_ways

    return SimpleNamespace(compare=compare_bases, growth=growth_report, clock=plain_ways.PlainWays())


class Bench:
    """pytest-benchmark's fixture, as far as the clock uses it."""

    def __init__(self, clock):
        self.clock, self.extra_info, self.stats = clock, {}, SimpleNamespace(stats=SimpleNamespace(data=[]))

    def pedantic(self, tool, *, setup, rounds, warmup_rounds):
        for number in range(warmup_rounds + rounds):
            setup()
            start = self.clock()
            tool()
            if number >= warmup_rounds:
                self.stats.stats.data.append(self.clock() - start)


def test_the_clock_counts_in_plain_ways_of_the_same_round(tools):
    now, plain_takes = [0.0], iter([9.0, 1.0, 4.0, 2.0])
    bench = Bench(tools.clock)

    def wait(seconds):
        now[0] += seconds

    def run(floor):
        tools.clock.against(bench, lambda: wait(next(plain_takes)), lambda: wait(6.0), floor=floor, rounds=3, times=3,
                            seconds=lambda: now[0])  # fmt: skip

    run(0.5)
    assert bench.stats.stats.data == pytest.approx([6 / 3, 6 / 12, 6 / 6])
    assert bench.extra_info["ratio"] == pytest.approx(3 / 6)  # shortest plain way by shortest tool
    assert bench.extra_info["seconds"] == pytest.approx(6)
    plain_takes = iter([1.0] * 4)
    bench = Bench(tools.clock)
    with pytest.raises(AssertionError, match=r"0\.50 times the plain way's speed; expected 0\.6"):
        run(0.6)


def test_a_dear_plain_way_runs_as_often_as_it_was_asked_to(tools):
    now, plain_takes, bench = [0.0], iter([5.0, 2.0]), Bench(tools.clock)

    def wait(seconds):
        now[0] += seconds

    tools.clock.against(bench, lambda: wait(next(plain_takes)), lambda: wait(1.0), floor=1, rounds=4, plain_rounds=2,
                        seconds=lambda: now[0])  # fmt: skip
    assert bench.extra_info["ratio"] == pytest.approx(2)


def test_slower_is_what_is_slower_in_every_round(tools):
    rounds = [
        ({"a": 1.0, "b": 1.0, "c": 1.0, "gone": 1.0}, {"a": 1.3, "b": 1.3, "c": 0.7, "new": 1.0}),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 1.2, "b": 1.0, "c": 0.6}),
    ]
    rows, slower = tools.compare.summarised(rounds, 0.15)
    assert {name: word for name, _, word in rows} == {"a": "SLOWER", "b": "same", "c": "quicker"}
    assert dict((name, value) for name, value, _ in rows)["a"] == pytest.approx(1.25)
    assert slower
    assert not tools.compare.summarised([({"b": 1.0}, {"b": 1.1})], 0.15)[1]


def test_parts_that_did_not_run_are_named_with_the_reason(tools, tmp_path):
    (tmp_path / "report.xml").write_text(
        '<testsuites><testsuite><testcase name="fine"/>'
        '<testcase name="lost"><failure message="ImportError: no x&#10;y"/></testcase>'
        '<testcase name="left"><skipped message="not here"/></testcase></testsuite></testsuites>'
    )
    assert tools.compare.reasons_of(tmp_path / "report.xml") == {"lost": "ImportError: no x", "left": "not here"}


def test_an_unknown_base_is_one_line():
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "compare_bases.py"), "--base", "no-such-commit"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("bench-compare: can't check out 'no-such-commit': ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_slopes_are_those_of_the_powers_they_were_made_of(tools, tmp_path):
    sizes = np.array([10, 100, 1000])
    rows = [
        {"part": part, "axis": "images", "size": size, "seconds": size**power, "memory_mib": 3.0 * size**memory,
         "rss_mib": 1.0}
        for part, power, memory in (("square", 2.0, 0.0), ("line", 1.0, 1.0)) for size in sizes.tolist()
    ]  # fmt: skip
    found = tools.growth.slopes(pd.DataFrame(rows)).set_index("part")
    assert found.loc["square", ["seconds_slope", "memory_mib_slope"]].tolist() == pytest.approx([2, 0])
    assert found.loc["line", ["seconds_slope", "memory_mib_slope"]].tolist() == pytest.approx([1, 1])
    tools.growth.write(tmp_path, rows)
    assert "line (1.0)" in (tmp_path / "README.md").read_text()
    assert "square" not in (tmp_path / "README.md").read_text()
    assert len(pd.read_csv(tmp_path / "growth.csv")) == 6
    assert "<svg" in (tmp_path / "growth.svg").read_text()
