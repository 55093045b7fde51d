"""Processes that log to one store take turns."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Lets processes that log to one SQLite file do it in turns: both would make its tables, and a benchmark's runs."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    import fcntl

    store = Path(uri.removeprefix("sqlite:///").partition("?")[0])
    store.parent.mkdir(parents=True, exist_ok=True)
    # The lock ends with its process; the file stays, or two might lock different ones.
    with open(store.with_name(f"{store.name}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"track: another process logs to {store}; waiting for it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
