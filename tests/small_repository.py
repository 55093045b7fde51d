"""A small benchmark whose stages really ran, in a repository with git and DVC, as if ``dvc repro`` had made it."""

import dataclasses
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import yaml

from emobench.layout import Layout
from emobench.params import Params
from emobench.stages import report

ROOT = Path(__file__).parents[1]
KEPT = ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/plots", "concepts", "emobench")
BEFORE_TRACK = "report"


def write_repository(root: Path, params: Params, made: Layout) -> Path:
    """Copies a benchmark and what DVC needs to know of it; git holds all that git would, dvc.lock too."""
    shutil.copytree(made.root, root)
    for name in KEPT:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, root / name)
    (root / "data" / "raw").mkdir()
    (root / "data" / "raw" / "none").touch()
    (root / "params.yaml").write_text(yaml.safe_dump(dataclasses.asdict(params), sort_keys=False))
    report.run(params, Layout(params.name, root))
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "user.name", "a")
    git(root, "config", "user.email", "a@example.com")
    with opened(root) as repo:
        repo.commit(BEFORE_TRACK, with_deps=True, force=True)
    save(root, "results")
    return root


@contextmanager
def opened(root: Path) -> Iterator[Any]:
    """The repository for DVC, which looks for a stage by its name in the working folder."""
    from dvc.repo import Repo

    with chdir(root), Repo() as repo:
        yield repo


def save(root: Path, message: str) -> None:
    """Commits everything."""
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", message)


def git(root: Path, *arguments: str) -> str:
    """What a git command prints."""
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()
