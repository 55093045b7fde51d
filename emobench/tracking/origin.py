"""Where results come from, and what tells them from others."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from emobench.revisions import git
from emobench.tracking.overview import NOTE
from emobench.tracking.runs import RunRecord


def lock_digest(folder: Path) -> str | None:
    """sha256 of dvc.lock without the entry of the stage that logs; None without a lock."""
    try:
        lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    lock.get("stages", {}).pop("track", None)
    return hashlib.sha256(json.dumps(lock, sort_keys=True).encode()).hexdigest()


def git_tags(folder: Path) -> dict[str, str]:
    """The commit that the results come from, as MLflow names it, and whether files differ from it; {} without git."""
    commit, changed = git(folder, "rev-parse", "HEAD"), git(folder, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changed is None:
        return {}
    return {"mlflow.source.git.commit": commit.decode().strip(), "git_changed": str(bool(changed.strip())).lower()}


def content_digest(records: Iterable[RunRecord], *more: Any) -> str:
    """sha256 over what would be logged, without what only tells of it: pictures, notes and names."""
    digest = hashlib.sha256(json.dumps(more, sort_keys=True).encode())
    for record in records:
        files = {name: hashlib.sha256(data).hexdigest() for name, data in record.files.items()}
        tags = {name: value for name, value in record.tags.items() if name != NOTE}
        values = (record.key, record.params, record.metrics, tags, files)
        digest.update(json.dumps(values, sort_keys=True).encode())
    return digest.hexdigest()
