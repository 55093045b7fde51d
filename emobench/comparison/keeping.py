"""Keeping a finished run as the reference that git holds: its report, and where it came from, all written here.

reports/reference/<name>/ is reports/<name>/ with ``params.yaml`` and ``dvc.lock`` that made it, ``costs.csv`` (what
each stage took, and on what) and ``provenance.json`` (commit, machine, versions, and the digest of every file, so that
a change by hand is seen).
"""

import platform
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from emobench import __version__, costs
from emobench.errors import UserError
from emobench.files import file_digest, replacing, write_json
from emobench.layout import Layout
from emobench.params import Params
from emobench.revisions import git

FILE = "provenance.json"
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "open_clip_torch", "dvc", "mlflow")
PAGES = ("*.html", "figures")
"""What a reference of tables alone lacks: megabytes of what `dvc repro` can make again."""
NEEDED = ("metrics.json", "configs.csv", "layers.csv", "verdicts.csv", "index.html")


def keep(params: Params, root: Path = Path(), *, pages: bool = True) -> Path:
    """Writes the reference of the benchmark in params.yaml anew.

    Args:
        params: as in params.yaml.
        root: of the repository.
        pages: keep pages and figures too, not tables alone.

    Returns:
        The folder.

    Raises:
        UserError: the run is not finished, not up to date, or was made with ``data.limit``.
    """
    layout = Layout(params.name, root)
    _check(params, layout)
    with replacing(layout.reference) as folder:
        left_out = None if pages else shutil.ignore_patterns(*PAGES)
        shutil.copytree(layout.reports, folder, copy_function=shutil.copyfile, ignore=left_out)
        for name in ("params.yaml", "dvc.lock"):
            shutil.copyfile(root / name, folder / name)
        (folder / "costs.csv").write_text("\n".join(costs.lines(costs.latest(layout), "csv")) + "\n", encoding="utf-8")
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        digests = {name: file_digest(path) for name, path in files.items()}
        write_json(folder / FILE, {"benchmark": params.name, **_origin(root), "files": digests})
    return layout.reference


def _check(params: Params, layout: Layout) -> None:
    lacking = [name for name in NEEDED if not (layout.reports / name).is_file()]
    if lacking:
        raise UserError(f"{layout.reports} lacks {', '.join(lacking)}; run dvc repro first")
    if params.data.limit:
        raise UserError(f"{params.name} was run with data.limit {params.data.limit}: no number counts; nothing is kept")
    lock = yaml.safe_load((layout.root / "dvc.lock").read_text(encoding="utf-8")) or {}
    made = lock.get("stages", {}).get("prepare", {}).get("params", {}).get("params.yaml", {}).get("name")
    changed = sorted(_changed(layout.root)) if made == params.name else ["all"]
    if changed:
        raise UserError(f"not up to date: {', '.join(changed)}; run dvc repro, so that params.yaml is what made it")


def _changed(root: Path) -> Mapping[str, Any]:
    """The stages that ``dvc repro`` would run."""
    from dvc.repo import Repo

    with Repo(str(root.resolve())) as repo:
        return repo.status()


def _origin(root: Path) -> dict[str, Any]:
    """The commit and what differs from it, the machine, and the releases."""
    changed = (git(root, "status", "--porcelain", "--untracked-files=no") or b"").decode().splitlines()
    names = [line[3:] for line in changed]
    own = ("dvc.lock", "reports/reference/")  # what a run and its keeping write
    return {
        "commit": (git(root, "rev-parse", "HEAD") or b"").decode().strip() or None,
        "changed_since_commit": [name for name in names if not name.startswith(own)],
        "kept": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": {"cpu": costs.cpu_name(), "cores": costs.cores(), "system": platform.platform(terse=True)},
        "versions": {"emobench": __version__, "python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
    }


def changed_by_hand(folder: Path, provenance: Mapping[str, Any]) -> list[str]:
    """The files of a reference that are not as the tool wrote them, gone, or more than it wrote."""
    written = dict(provenance["files"])
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    same = {name for name, path in there.items() if name in written and file_digest(path) == written[name]}
    return sorted((written.keys() | there.keys()) - same - {FILE})
