import shutil
import subprocess
import sys
import warnings
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_own


@pytest.fixture(scope="session")
def empty_repository(tmp_path_factory) -> Path:
    """Made once, to be copied: starting DVC takes seconds."""
    root = tmp_path_factory.mktemp("empty") / "repository"
    (root / "data" / "raw").mkdir(parents=True)
    (root / "data" / "raw" / "none").touch()
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True, capture_output=True)
    return root


@pytest.fixture
def repository(empty_repository, tmp_path) -> Path:
    """A repository with git and DVC, and nothing brought yet."""
    return shutil.copytree(empty_repository, tmp_path / "repository")


def started(command: list[str], cwd: Path, **options) -> subprocess.CompletedProcess:
    """What subprocess.run gives, but a command of DVC runs in this process."""
    if command[:3] != [sys.executable, "-m", "dvc"]:
        return subprocess.run(command, cwd=cwd, **options)
    from dvc.cli import main

    out, err = StringIO(), StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as in a process of its own
        code = main(command[3:])
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


@pytest.fixture
def quick_repository(repository, monkeypatch) -> Path:
    """The same, where DVC needs no process of its own, which takes seconds to start."""
    monkeypatch.setattr("emobench.inputs.bring.subprocess", SimpleNamespace(run=started))
    return repository


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """A user's folder ``mine`` beside the working folder, which is a repository whose DVC takes no time."""
    root = tmp_path / "repository"
    (root / "data" / "raw").mkdir(parents=True)
    (root / "data" / "raw" / "none").touch()
    (root / "concepts").mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setattr("emobench.inputs.bring._put_under_dvc", lambda root, place: None)
    return small_own.write_own(tmp_path / "mine")
