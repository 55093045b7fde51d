"""Which files of the package a stage depends on, by its imports; run as a script it writes them into dvc.yaml."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLUMBING = {
    "cli", "costs", "device", "errors", "failures", "files", "layout", "params", "progress", "quantities", "registry",
    "own_code", "schema", "stored", "stored_tables", "weights",
}  # fmt: skip
"""Modules that carry no method: params.yaml's values are dependencies of their own, the rest moves bytes."""
DATA_FILES = {
    "emobench/vocabulary/__init__.py": ["emobench/vocabulary"],
    "emobench/reporting/text.py": ["emobench/reporting/templates"],
    "emobench/reporting/published.py": ["emobench/reporting/published"],
}
"""What a module reads beside itself; a folder stands for the module too."""


def imported_modules(path: Path) -> set[str]:
    """Dotted names of emobench modules that a file imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "emobench"}


def module_file(name: str) -> Path | None:
    """The file of a dotted name; None if the name is not a module (a function, say)."""
    path = ROOT / Path(*name.split("."))
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").is_file() else None


def closure(start: Path) -> list[str]:
    """Dependencies of a module, itself included, as paths relative to the repository, sorted."""
    found, todo = set(), [start]
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        todo += [file for name in imported_modules(path) if (file := module_file(name))]
    wanted = set()
    for path in found:
        name = path.relative_to(ROOT).as_posix()
        if (
            path.stem in PLUMBING
            or name.startswith("emobench/settings/")
            or (path.read_text().count("\n") <= 4 and path.name == "__init__.py")
        ):
            continue
        extra = DATA_FILES.get(name, [])
        wanted |= set(extra) | {name}
    # A folder that is listed stands for the modules in it.
    return sorted(name for name in wanted if not any(name.startswith(other + "/") for other in wanted))


def rewrite() -> None:
    """Replaces the package files among the deps of every stage in dvc.yaml by the stage's closure."""
    lines, out, stage = (ROOT / "dvc.yaml").read_text().splitlines(), [], ""
    for line in lines:
        if line.startswith("  ") and not line.startswith("   ") and line.endswith(":"):
            stage = line.strip(" :")
        if line.strip().startswith("- emobench/"):
            continue
        out.append(line)
        if line == "    deps:":
            out += [f"      - {name}" for name in closure(ROOT / "emobench" / "stages" / f"{stage}.py")]
    (ROOT / "dvc.yaml").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    rewrite()
