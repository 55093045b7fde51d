import subprocess
import sys
from pathlib import Path

import pytest
import small_own


@pytest.fixture
def repository(tmp_path) -> Path:
    """A repository with git and DVC, and nothing brought yet."""
    root = tmp_path / "repository"
    (root / "data" / "raw").mkdir(parents=True)
    (root / "data" / "raw" / "none").touch()
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True, capture_output=True)
    return root


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
