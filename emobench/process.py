"""What a process that computes asks of the system, before libraries that read it are loaded.

Both were measured on the demo on two cores (CPU seconds, reports/reference/demo/costs.csv holds today's). OpenMP's
threads wait by spinning: where operations are short, or beside other processes, that took more than the operations did.
And glibc gives large buffers back to the kernel at each step, which hands out and clears their pages again at the next.
"""

import ctypes
import gc
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from emobench.errors import UserError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's names, malloc.h."""
MMAP_THRESHOLD, TRIM_THRESHOLD = 2**25, 2**28
"""Bytes: buffers up to the first (glibc takes no more) come from the heap, which keeps so many free ones."""
LEAST_ADDRESSES = 8
"""GiB: with fewer, libraries that a stage loads don't only fail, some wait for ever (OpenBLAS) or abort the process."""


def check_addresses() -> None:
    """Refuses a bound on the addresses of a process (``ulimit -v``) that a stage can't be told to have met.

    Raises:
        UserError: the bound is too low.
    """
    bound = resource.getrlimit(resource.RLIMIT_AS)[0]
    if bound != resource.RLIM_INFINITY and bound < LEAST_ADDRESSES * 2**30:
        raise UserError(
            f"memory is bounded to {bound / 2**30:.1f} GiB of addresses (ulimit -v), of which torch alone takes five; "
            f"expected at least {LEAST_ADDRESSES}, or a bound on the memory itself (systemd-run -p MemoryMax=4G)"
        )


def settle() -> None:
    """Lets idle threads sleep and the allocator keep its buffers. What the user has set in the environment stays."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with suppress(OSError, AttributeError):  # not glibc
        mallopt = ctypes.CDLL(None).mallopt
        for name, option, value in (
            ("MALLOC_MMAP_THRESHOLD_", M_MMAP_THRESHOLD, MMAP_THRESHOLD),
            ("MALLOC_TRIM_THRESHOLD_", M_TRIM_THRESHOLD, TRIM_THRESHOLD),
        ):
            if name not in os.environ:
                mallopt(option, value)
                os.environ[name] = str(value)  # for the processes that this one starts


@contextmanager
def kept_for_good() -> Iterator[None]:
    """What is imported in the block stays: the garbage collector looks at none of its millions of objects again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def end_workers() -> None:
    """Ends the processes that joblib keeps for more work. Left alone, Python's own end waits a second for theirs."""
    if (loky := sys.modules.get("joblib.externals.loky")) is not None:
        loky.get_reusable_executor(reuse=True).shutdown(kill_workers=True)
