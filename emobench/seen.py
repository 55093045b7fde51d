"""Notes of what a stage was given, for stages further down.

report and track show something of every stage before them. Did DVC watch all of it for each, the pipeline's picture
(``dvc dag``) would fit no screen. Instead a stage in between notes the digests of what it was given, and those further
down depend on the note: whatever changes in a file changes the note.
"""

from collections.abc import Iterable
from pathlib import Path

from emobench.errors import UserError
from emobench.files import file_digest, write_json
from emobench.layout import Layout
from emobench.stored import read_json


def note(layout: Layout, stage: str, paths: Iterable[str]) -> None:
    """Writes ``artifacts/<name>/seen/<stage>.json``: path -> sha256, null for a file that is not there.

    Args:
        layout: of the benchmark.
        stage: whose note it is.
        paths: as in dvc.yaml, relative to the root, with ``{name}`` for the benchmark's.
    """
    files = {path: layout.root / path.format(name=layout.name) for path in paths}
    digests = {path: file_digest(file) if file.is_file() else None for path, file in files.items()}
    write_json(layout.artifacts / "seen" / f"{stage}.json", digests)


def noted(layout: Layout, stage: str) -> Path:
    """Where a stage's note lies."""
    return layout.artifacts / "seen" / f"{stage}.json"


def check_noted(layout: Layout, stages: Iterable[str]) -> None:
    """Expects what some stages were given to be as it was then; results without notes are believed.

    Raises:
        UserError: a file that one of them noted is another one now.
    """
    for stage in stages:
        if not (path := noted(layout, stage)).is_file():
            continue
        for given, digest in read_json(path, stage).items():
            file = layout.root / given.format(name=layout.name)
            if digest is not None and (not file.is_file() or file_digest(file) != digest):
                raise UserError(f"{file} is not the file that {path} notes: it was changed or removed; run dvc repro")
