"""Computing many things at once in this process, one a core."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from joblib import Parallel, delayed


def one_a_core(function: Callable[[Any], Any], items: Sequence[Any], device: torch.device) -> list[Any]:
    """Applies a function to each item, one item a core instead of one operation on all cores, in the items' order.

    Where operations are short, cores that wait for each other at the end of each of them, beside other processes, took
    ten times as long. An accelerator has its own order, and a single item has all cores.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or len(items) < 2:
        return [function(item) for item in items]
    torch.set_num_threads(1)
    try:
        return Parallel(n_jobs=threads, backend="threading")(delayed(function)(item) for item in items)
    finally:
        torch.set_num_threads(threads)
