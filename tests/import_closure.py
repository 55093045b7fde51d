"""Which files of the package a stage depends on, by its imports; run as a script it writes them into dvc.yaml."""

import ast
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLUMBING = {
    "cli", "cores", "costs", "device", "errors", "failures", "files", "forked", "layout", "own_code", "params",
    "progress", "quantities", "registry", "revisions", "schema", "seen", "stored", "stored_tables", "weights",
}  # fmt: skip
"""Modules that carry no method: params.yaml's values are dependencies of their own, the rest moves bytes."""
DATA_FILES = {
    "emobench/vocabulary/__init__.py": ["emobench/vocabulary"],
    "emobench/reporting/text.py": ["emobench/reporting/templates"],
    "emobench/reporting/published.py": ["emobench/reporting/published"],
}
"""What a module reads beside itself; a folder stands for the module too."""
LATE = ("report", "track")
"""Stages that nothing waits for and that take seconds: half of a room is the room to them: dvc.yaml stays short."""
WHOLE_NEVER = (ROOT / "emobench", ROOT / "emobench" / "stages", ROOT / "emobench" / "functional")
WIDTH = 119


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
    """What a module depends on, itself included: paths relative to the repository, sorted; whole rooms as folders."""
    found, todo = set(), [start]
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        todo += [file for name in imported_modules(path) if (file := module_file(name))]
    wanted = set()
    for path in filter(counts, found):
        name = path.relative_to(ROOT).as_posix()
        wanted |= {name} | set(DATA_FILES.get(name, []))
    share = 0.5 if start.stem in LATE else 1.0
    for room in sorted({path.parent for path in found}):
        modules = [path.relative_to(ROOT).as_posix() for path in room.glob("*.py") if counts(path)]
        if room not in WHOLE_NEVER and len(modules) > 1 and len(wanted & set(modules)) >= share * len(modules):
            wanted.add(room.relative_to(ROOT).as_posix())
    # A folder that is listed stands for the modules in it.
    return sorted(name for name in wanted if not any(name.startswith(other + "/") for other in wanted))


def counts(path: Path) -> bool:
    """Whether a module carries a method."""
    name = path.relative_to(ROOT).as_posix()
    empty = path.name == "__init__.py" and path.read_text().count("\n") <= 4
    return path.stem not in PLUMBING and not name.startswith("emobench/settings/") and not empty


def rewrite() -> None:
    """Replaces the package files among the deps of every stage in dvc.yaml by the stage's closure."""

    def renewed(match: re.Match[str]) -> str:
        listed = [name.strip() for name in match[3].split(",")]
        others = [name for name in listed if not name.startswith("emobench/")]
        modules = closure(ROOT / "emobench" / "stages" / f"{match[1]}.py")
        text = f"deps: [{', '.join([*modules, *others])}]"
        lines = textwrap.wrap(text, WIDTH - 6, break_long_words=False, break_on_hyphens=False)
        return f"  {match[1]}:{match[2]}    " + "\n      ".join(lines) + "\n"

    stage = re.compile(r"^  (\w+):((?:\n    .*)*?\n)    deps: \[([^\]]*)\]\n", re.MULTILINE)
    (ROOT / "dvc.yaml").write_text(stage.sub(renewed, (ROOT / "dvc.yaml").read_text()))


if __name__ == "__main__":
    rewrite()
