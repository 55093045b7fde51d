"""What goes wrong beside mistakes of the user's, told in one line: disks, memory, signals."""

import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from emobench.errors import UserError

TERMINATED = 143
"""Exit code after SIGTERM."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DISK = re.compile(r"no space left|os error (28|27|122)|file too large|quota exceeded|requested and \d+ written"
                   r"|problem writing element"
                   r"|PytorchStreamWriter|unexpected pos|disk (is|I/O) ", re.IGNORECASE)  # fmt: skip
_MEMORY = re.compile(r"bad_alloc|out of memory|not enough memory|can't allocate memory|cannot allocate memory"
                     r"|unable to allocate|failed to map segment", re.IGNORECASE)  # fmt: skip


class TerminatedError(BaseException):
    """SIGTERM came."""


@contextmanager
def heeding_sigterm() -> Iterator[None]:
    """In the block SIGTERM ends the process as an exception does: nothing half-written stays, and one line is said."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _terminated(number: int, frame: FrameType | None) -> None:
    raise TerminatedError


def disk_error(error: BaseException, path: Path) -> OSError | None:
    """What numpy, safetensors or torch say of a full disk in their own words, as the error it is; None if it isn't."""
    if isinstance(error, OSError) and error.errno in FULL:
        return error if error.filename else OSError(error.errno, error.strerror or os.strerror(error.errno), str(path))
    ours = isinstance(error, OSError | RuntimeError | ValueError) or type(error).__name__ == "SafetensorError"
    if ours and _DISK.search(str(error)):
        return OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({_short(error)})", str(path))
    return None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names the file where the disk is full: what the system says of a write names none."""
    try:
        yield
    except Exception as error:
        if (full := disk_error(error, path)) is not None:
            raise full from error
        raise


def reopen_streams() -> None:
    """Puts something in place of standard streams that whoever started the process has closed.

    Else the next file that is opened would get what libraries print. Standard output refuses what is printed, so that
    nobody takes it for read; what would be said on standard error is lost.
    """
    for name, number, flags in (("stdout", 1, os.O_RDONLY), ("stderr", 2, os.O_WRONLY)):
        if getattr(sys, name) is None:
            with suppress(OSError):
                opened = os.open(os.devnull, flags)
                if opened != number:
                    os.dup2(opened, number)
                    os.close(opened)
                setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _of_output(error: OSError) -> str:
    """The line for what standard output didn't take, which names no file; empty for another error."""
    if error.filename or error.errno not in (*FULL, errno.EBADF, errno.EIO):
        return ""
    try:
        sys.stdout.write("\n")  # it fails a second time
        sys.stdout.flush()
    except OSError as again:
        reason = {errno.EBADF: "is closed", errno.ENOSPC: "is full"}.get(again.errno or 0, f"fails ({again.strerror})")
        return f"can't print: standard output {reason}"
    return ""


def told(error: BaseException) -> tuple[str, int]:
    """One line on an error, and the exit code.

    Raises:
        BaseException: ``error`` itself where it is emobench's own mistake, whose traceback is wanted, or an exit.
    """
    if isinstance(error, UserError):
        return str(error), 1
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; run it again to go on", 1
    if isinstance(error, TerminatedError):
        return "terminated; run it again to go on", TERMINATED
    if isinstance(error, OSError) and (line := _of_output(error) or _of_system(error)):
        return line, 1
    if isinstance(error, MemoryError) or _MEMORY.search(str(error)):
        return f"memory ended ({_short(error)}); close other programs, or make batches, images or jobs fewer", 1
    if isinstance(error, ImportError):
        return f"can't load a part of Python ({_short(error)}); set the environment up again: make setup", 1
    if isinstance(error, EOFError):  # click would take it for the end of what somebody types
        raise RuntimeError("a file ended too early") from error
    raise error


def _of_system(error: OSError) -> str:
    """The line for what the operating system refuses; empty for anything else."""
    where = f": {error.filename}" if error.filename else ""
    reason = error.strerror or str(error)
    reason = reason[:1].lower() + reason[1:]
    if error.errno == errno.EPIPE:
        return "can't print: nobody reads standard output any more"
    if error.errno in FULL:
        return f"can't write, {reason}{where}; nothing half-written was kept"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        readable = not error.filename or not Path(error.filename).exists() or os.access(error.filename, os.R_OK)
        return f"can't {'write' if readable else 'read'}, {reason}{where}; nothing half-written was kept"
    if error.errno is not None and error.filename:
        return f"can't use {error.filename}: {reason}"
    return ""


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
