"""One command of emobench in a forked process: everything is imported already, so that a try costs what it does."""

import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS = 120
"""Of processor time; what takes longer hangs."""


@dataclass(frozen=True)
class Done:
    """How a command ended (a negative code: by which signal), what it printed, and how long it took."""

    code: int
    out: str
    err: str
    seconds: float


def run(arguments: list[str], folder: Path, before: Callable[[], None] = lambda: None, kill_after: float = 0) -> Done:
    """Runs ``emobench ARGUMENTS`` in a folder; ``before`` runs in the process first.

    After ``kill_after`` seconds of its processor time, which a busy machine does not change, the process is gone: by
    SIGPROF, of which Python knows nothing, so that it ends as by SIGKILL.
    """
    out, err = folder.parent / f"{folder.name}.out", folder.parent / f"{folder.name}.err"
    start = _used()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _child(arguments, folder, out, err, before, kill_after)
    _, status = os.waitpid(pid, 0)
    texts = [path.read_text(errors="replace") if path.is_file() else "" for path in (out, err)]
    for path in (out, err):
        path.unlink(missing_ok=True)
    return Done(os.waitstatus_to_exitcode(status), *texts, _used() - start)


def _used() -> float:
    """Processor seconds of the processes that this one waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _child(
    arguments: list[str], folder: Path, out: Path, err: Path, before: Callable[[], None], kill_after: float
) -> None:
    code = 70
    try:
        for path, stream in ((out, 1), (err, 2)):
            opened = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(opened, stream)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1)
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        before()
        signal.setitimer(signal.ITIMER_PROF, kill_after)
        import torch

        # In a forked process torch makes its pool of threads anew at the first call, which several threads at once
        # must not be.
        torch.set_num_threads(torch.get_num_threads())
        from emobench.cli import main

        main(arguments, prog_name="emobench")
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
