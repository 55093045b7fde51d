"""One progress bar for all loops: with the time left, silent below two seconds and away from a terminal."""

from collections.abc import Iterable
from typing import Any


def progress(iterable: Iterable[Any] | None = None, *, total: int | None = None, desc: str, unit: str = "it") -> Any:
    """Wraps an iterable (or, without one, counts by ``update``) in a tqdm bar on standard error."""
    from tqdm import tqdm

    return tqdm(iterable, total=total, desc=desc, unit=unit, delay=2, disable=None, dynamic_ncols=True)
