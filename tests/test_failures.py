import errno
import os
import re
import resource
import signal
import subprocess
from contextlib import nullcontext

import click
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors import SafetensorError

from emobench.cli import OneLineErrors
from emobench.errors import UserError
from emobench.failures import TerminatedError, disk_error, told
from emobench.files import replacing, safe_cell, write_array
from emobench.process import check_addresses


def called(error: BaseException):
    @click.group(cls=OneLineErrors)
    def group() -> None:
        pass

    @group.command()
    def run() -> None:
        raise error

    return CliRunner().invoke(group, ["run"])


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("params: no such layer"), 1, "params: no such layer"),
        (MemoryError("Unable to allocate 9 GiB"), 1, "memory ended .*9 GiB"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 1, "memory ended"),
        (ImportError("libz.so: failed to map segment"), 1, "memory ended"),
        (ImportError("no module x"), 1, "can't load a part of Python"),
        (OSError(errno.ENOSPC, "No space left on device", "a.npy"), 1, "can't write, no space left on device: a.npy"),
        (OSError(errno.ENOSPC, "No space left, of 3 MiB", "a.npy"), 1, "can't write, no space left, of 3 MiB: a.npy"),
        (OSError(errno.EFBIG, "File too large", "a.npy"), 1, "can't write, file too large: a.npy"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a.json"), 1, "can't use a.json: is a directory"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, "can't print: nobody reads standard output"),
        (KeyboardInterrupt(), 1, "interrupted; run it again to go on"),
        (TerminatedError(), 143, "terminated; run it again to go on"),
    ],
)
def test_whatever_goes_wrong_is_one_line(error, code, words):
    result = called(error)
    assert result.exit_code == code
    assert len(result.stderr.splitlines()) == 1
    assert re.search(f"^emobench: (?:{words})", result.stderr)


def test_what_cannot_be_read_is_not_said_to_be_written(tmp_path, monkeypatch):
    path = tmp_path / "secret.json"
    path.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert told(PermissionError(errno.EACCES, "Permission denied", str(path)))[0].startswith("can't read, permission")
    new = str(tmp_path / "new.json")
    assert told(PermissionError(errno.EACCES, "Permission denied", new))[0].startswith("can't write, permission")


def test_mistakes_of_emobenchs_own_keep_their_traceback():
    assert isinstance(called(KeyError("x")).exception, KeyError)
    ended = called(EOFError())  # which click would call Aborted!
    assert isinstance(ended.exception, RuntimeError)
    assert isinstance(ended.exception.__cause__, EOFError)


@pytest.mark.parametrize(
    "error",
    [
        OSError("4096 requested and 0 written"),
        OSError("problem writing element 253952 to file"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file data/0"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_a_full_disk_is_known_in_every_librarys_words(tmp_path, error):
    with pytest.raises(OSError, match=r"a\.npy") as raised, replacing(tmp_path / "a.npy"):
        raise error
    assert raised.value.errno == errno.ENOSPC
    assert disk_error(ValueError("a wrong value"), tmp_path) is None


def test_the_leavings_of_killed_runs_go_and_those_of_living_ones_stay(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    dead, alive = tmp_path / f".a.{gone.pid}.tmp.npy", tmp_path / f".a.{os.getppid()}.tmp.npy"
    other = tmp_path / f".b.{gone.pid}.tmp.npy"
    for path in (dead, alive, other):
        path.touch()
    write_array(tmp_path / "a.npy", np.ones(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([alive.name, other.name, "a.npy"])


def test_sigterm_is_heeded_only_while_a_command_runs():
    before = signal.getsignal(signal.SIGTERM)

    @click.group(cls=OneLineErrors)
    def group() -> None:
        pass

    @group.command()
    def run() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    result = CliRunner().invoke(group, ["run"])
    assert (result.exit_code, result.stderr) == (143, "emobench: terminated; run it again to go on\n")
    assert signal.getsignal(signal.SIGTERM) == before


def test_no_cell_is_a_formula():
    assert [safe_cell(one) for one in ("=1+1", "@x", "-cmd", "-0.5", "smile", -0.5, None)] == [
        "'=1+1", "'@x", "'-cmd", "-0.5", "smile", -0.5, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bound", "refused"), [(5 * 2**30, True), (16 * 2**30, False), (resource.RLIM_INFINITY, False)]
)
def test_a_bound_in_which_libraries_would_hang_is_refused_at_once(monkeypatch, bound, refused):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (bound, bound))
    told_so = pytest.raises(UserError, match=r"^memory is bounded to 5.0 GiB of addresses \(ulimit -v\)")
    with told_so if refused else nullcontext():
        check_addresses()
