"""The reference of the Python API: mkdocstrings' directives for the modules that others may build on."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "emobench"
HEAD = """# Python

Functions of `emobench.functional` take tensors and return tensors: no paths, no printing, no choice of device. The
other modules here are those that a program of one's own builds on: loading a network, recording its units, evaluating
edits.
"""
OTHERS = (
    "networks.sources", "networks.network", "networks.card", "networks.layers", "networks.recording", "networks.vggnet",
    "sweeps.suffix", "edits.target", "params", "stored_tables",
)  # fmt: skip


def page() -> str:
    """A directive a module."""
    functional = sorted(
        path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        for path in (PACKAGE / "functional").rglob("*.py")
        if path.stem != "__init__" and _public(path)
    )
    parts = [HEAD, "## The maths\n", *map(_module, functional), "## Networks, edits, files\n", *map(_module, OTHERS)]
    return "\n".join(parts)


def _module(name: str) -> str:
    return f"::: emobench.{name}\n"


def _public(path: Path) -> bool:
    """Whether a module has a public function or class."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(isinstance(one, ast.FunctionDef | ast.ClassDef) and not one.name.startswith("_") for one in body)
