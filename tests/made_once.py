"""What takes seconds to make is made by one of pytest's processes for all of them."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path


def made_once(base: Path, name: str, make: Callable[[Path], object]) -> Path:
    """The folder ``name`` that ``make`` filled; others wait until it is complete, and must not change it.

    Args:
        base: pytest's folder for this process (``tmp_path_factory.getbasetemp()``); those of others lie beside it.
        name: of the folder.
        make: fills an empty folder.
    """
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, complete = shared / name, shared / f"{name}.complete"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what one that failed left
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder
