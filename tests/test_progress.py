import io
import re
import sys
import threading

import pytest

from emobench import progress as module
from emobench.progress import EVERY, FIRST, Speaker, Spoken, duration, progress, working


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now, self.said = 1000.0, []
        self.speaker = Speaker(lambda: self.now, self.said.append, threaded=False)

    def loop(self, iterable=None, total=None, desc="train baseline", unit="batch") -> Spoken:
        return Spoken(iterable, total, desc, unit, self.speaker)

    def passes(self, seconds: float) -> float:
        """Lets time pass and returns how long nothing will be due now."""
        self.now += seconds
        return self.speaker.speak()


def test_the_first_line_comes_after_15_seconds_and_then_one_every_30() -> None:
    clock = Clock()
    with clock.loop(total=552) as bar:
        bar.update(100)
        assert clock.passes(FIRST - 1) == pytest.approx(1)
        assert clock.said == []
        bar.update(50)
        assert clock.passes(1) == EVERY
        bar.update(162)
        assert clock.passes(EVERY - 1) == pytest.approx(1)
        bar.set_postfix(val_accuracy="0.713")
        clock.passes(1)
    # 150 batches in 15 s leave 402 for 40.2 s; 312 in 45 s leave 240 for 34.6 s.
    assert clock.said == [
        "train baseline: 150 of 552 batches, 40 s left",
        "train baseline: 312 of 552 batches, 35 s left, val accuracy 0.713",
    ]
    assert clock.passes(100) == EVERY
    assert len(clock.said) == 2, "a loop that ended says nothing more"


def test_an_iteration_that_lasts_speaks_and_what_was_done_before_tells_no_speed() -> None:
    clock = Clock()
    with clock.loop(total=90, desc="landmarks", unit="image") as bar:
        bar.update(60)
        bar.initial = bar.n
        clock.passes(15)
        bar.update(10)
        clock.passes(30)
        clock.passes(30)
    assert clock.said == [
        "landmarks: 60 of 90 images, no end known yet",
        "landmarks: 70 of 90 images, 1 min 30 s left",
        "landmarks: 70 of 90 images, 2 min 30 s left",
    ]


def test_a_loop_over_an_iterable_counts_what_is_done_and_ends_when_left() -> None:
    clock, seen = Clock(), []
    for one in clock.loop((letter for letter in "abc"), desc="draw figures", unit="figure"):
        seen.append(one)
        clock.passes(15)
        if one == "b":
            break
    assert (seen, clock.said) == (["a", "b"], ["draw figures: 0 figures, 15 s so far"])
    clock.passes(100)
    assert len(clock.said) == 1


def test_a_stage_speaks_only_where_its_loops_are_silent() -> None:
    clock = Clock()
    with clock.loop(desc="edit", unit=""):
        clock.passes(15)
        with clock.loop(total=4, desc="search", unit="fit") as bar:
            bar.update()
            for _ in range(4):
                clock.passes(15)
        for _ in range(4):
            clock.passes(15)
    assert clock.said == [
        "edit: running for 15 s",
        "search: 1 of 4 fits, 45 s left",
        "search: 1 of 4 fits, 2 min 15 s left",
        "edit: running for 1 min 30 s",
        "edit: running for 2 min",
    ]


def test_nested_loops_never_leave_30_seconds_without_a_line() -> None:
    clock, times = Clock(), []
    clock.speaker = Speaker(lambda: clock.now, lambda line: times.append(clock.now), threaded=False)
    start = clock.now
    with clock.loop(desc="stage", unit=""):
        for length in (3, 47, 14, 16, 200, 8):
            with clock.loop(total=2, desc="part", unit="it"):
                for _ in range(length):
                    clock.passes(1)
    gaps = [later - one for one, later in zip([start, *times], [*times, clock.now], strict=True)]
    assert max(gaps) <= EVERY


def test_what_is_written_between_counts_as_a_line() -> None:
    clock = Clock()
    with clock.loop(total=8, desc="edit lin2", unit="part") as bar:
        clock.passes(10)
        bar.write("edit lin2: 1,340 configurations, about 3 min", sys.stderr)
        assert clock.passes(29) == pytest.approx(1)
        clock.passes(1)
    assert clock.said == ["edit lin2: 1,340 configurations, about 3 min", "edit lin2: 0 of 8 parts, no end known yet"]


def test_units_are_counted_in_words_and_times_in_two_units() -> None:
    clock = Clock()
    lines = [clock.loop(total=count, desc="x", unit=unit).line(clock.now) for count, unit in ((1, "run"), (2, "B"))]
    assert lines == ["x: 0 of 1 run, no end known yet", "x: 0 of 2 B, no end known yet"]
    assert [duration(one) for one in (0, 59.6, 60, 3599, 7261)] == ["0 s", "1 min", "1 min", "59 min 59 s", "2 h 1 min"]


def test_away_from_a_terminal_a_thread_speaks_during_an_iteration(monkeypatch) -> None:
    heard = threading.Event()
    lines = []
    speaker = Speaker(say=lambda line: (lines.append(line), heard.set()))
    monkeypatch.setattr(module, "SPEAKER", speaker)
    monkeypatch.setattr(module, "FIRST", 0.0)
    with working("prepare"):
        for _ in progress(range(3), desc="draw", unit="face"):
            assert heard.wait(60)
            heard.clear()
            break
    assert lines[0].startswith(("draw: 0 of 3 faces", "prepare: running for"))


def test_a_stream_that_is_closed_is_no_failure(monkeypatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    Speaker(threaded=False).said("a line")
    assert stream.getvalue() == "a line\n"
    stream.close()
    Speaker(threaded=False).said("nobody hears it")


def test_on_a_terminal_the_bar_stays(monkeypatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with working("prepare"), progress(total=2, desc="draw", unit="face") as bar:
        bar.delay = 0
        bar.update(2)
        bar.refresh()
    shown = sys.stderr.getvalue()
    assert re.search(r"draw: 100%.*2/2", shown)
    assert "running for" not in shown
