"""How far a loop is: a bar on a terminal, elsewhere a line of text from time to time.

Away from a terminal (CI, a log, a queue) a loop that runs for 15 seconds says what it does, how far it is and how long
it still takes, and again every 30 seconds. A thread says it, so that one long iteration doesn't silence it; and a stage
says that it runs when none of its loops said anything.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, suppress
from typing import Any, Self

FIRST, EVERY = 15.0, 30.0
"""Seconds until a loop's first line, and from one line to the next."""


def progress(iterable: Iterable[Any] | None = None, *, total: int | None = None, desc: str, unit: str = "item") -> Any:
    """Wraps an iterable (or, without one, counts by ``update``); what comes back has what is used of tqdm's bars.

    Args:
        iterable: what is looped over.
        total: how many there will be; None: as many as the iterable has, if it knows.
        desc: what is done, in a word or two.
        unit: what is counted, in the singular.
    """
    if sys.stderr is not None and sys.stderr.isatty():
        from tqdm import tqdm

        return tqdm(iterable, total=total, desc=desc, unit=unit, delay=2, dynamic_ncols=True)
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    return Spoken(iterable, total, desc, unit, SPEAKER)


@contextmanager
def working(desc: str) -> Iterator[None]:
    """While the block runs, a line says so whenever no loop within it has said anything for a while."""
    if sys.stderr is not None and sys.stderr.isatty():
        yield
        return
    with Spoken(None, None, desc, "", SPEAKER):
        yield


class Speaker:
    """Says the lines of all loops that run, when they are due.

    Args:
        clock: seconds from any moment.
        say: takes a line.
        threaded: False: lines are said only when ``speak`` is called.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, say: Callable[[str], None] | None = None,
        *, threaded: bool = True,
    ) -> None:  # fmt: skip
        self.clock, self._say, self._threaded = clock, say or _to_stderr, threaded
        self._loops: list[Spoken] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.last = -EVERY

    def add(self, loop: "Spoken") -> None:
        """A loop begins."""
        with self._changed:
            self._loops.append(loop)
            self._changed.notify()
            if self._threaded and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
                self._thread.start()

    def remove(self, loop: "Spoken") -> None:
        """A loop ends; twice is once."""
        with self._changed:
            if loop in self._loops:
                self._loops.remove(loop)

    def said(self, line: str) -> None:
        """Says a line now."""
        self.last = self.clock()
        self._say(line)

    def speak(self) -> float:
        """Says what is due and returns the seconds until the next line can be."""
        now = self.clock()
        for loop in sorted(self._loops, key=lambda one: not one.counts):
            # A stage is told of only where its loops are silent.
            if not loop.counts:
                loop.due = max(loop.due, self.last + EVERY)
            if now >= loop.due:
                loop.due = now + EVERY
                self.said(loop.line(now))
        return min((loop.due - now for loop in self._loops), default=EVERY)

    def _run(self) -> None:
        # It never ends: a daemon that sleeps. A loop that begins wakes it, since its first line comes sooner.
        with self._changed:
            while True:
                self._changed.wait(self.speak())


class Spoken:
    """One loop that is told of in lines; the interface is the part of tqdm's that is used here."""

    def __init__(self, iterable: Iterable[Any] | None, total: int | None, desc: str, unit: str, by: Speaker) -> None:
        self._iterable, self.total, self.desc, self.unit, self._by = iterable, total, desc, unit, by
        self.n = self.initial = 0
        """``initial`` of the ``n`` were done before, and say nothing about the speed."""
        self.counts, self._postfix = bool(unit), ""
        self._start = by.clock()
        self.due = self._start + FIRST
        by.add(self)

    def __iter__(self) -> Iterator[Any]:
        try:
            for one in self._iterable or ():
                yield one
                self.n += 1
        finally:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Says nothing any more."""
        self._by.remove(self)

    def update(self, n: int = 1) -> None:
        """So many more are done."""
        self.n += n

    def set_postfix(self, **values: Any) -> None:
        """What stands at the end of a line."""
        self._postfix = "".join(f", {name.replace('_', ' ')} {value}" for name, value in values.items())

    def write(self, line: str, file: Any = None) -> None:
        """Says something else in between; the loop's own line can wait."""
        self.due = self._by.clock() + EVERY
        self._by.said(line)

    def line(self, now: float) -> str:
        """What, how far, how long still."""
        taken = now - self._start
        if not self.counts:
            return f"{self.desc}: running for {duration(taken)}"
        fresh = self.n - self.initial
        if self.total is None:
            done, left = f"{self.n:,} {self._units(self.n)}", f"{duration(taken)} so far"
        else:
            done = f"{self.n:,} of {self.total:,} {self._units(self.total)}"
            known = fresh > 0
            left = f"{duration(taken * max(self.total - self.n, 0) / fresh)} left" if known else "no end known yet"
        return f"{self.desc}: {done}, {left}{self._postfix}"

    def _units(self, count: int) -> str:
        if count == 1 or self.unit.isupper():
            return self.unit
        return self.unit + ("es" if self.unit.endswith(("ch", "s", "x")) else "s")


def duration(seconds: float) -> str:
    """A time in two units at most.

    >>> [duration(one) for one in (3.2, 100, 3600, 9000)]
    ['3 s', '1 min 40 s', '1 h', '2 h 30 min']
    """
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    parts = [(hours, "h"), (minutes, "min"), (0 if hours else whole % 60, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def _to_stderr(line: str) -> None:
    # Where nobody listens any more that is no reason to fail.
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


SPEAKER = Speaker()
