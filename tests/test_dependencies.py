"""What pyproject.toml declares is what the code imports, and the lock files hold all of it with hashes."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
IMPORTED_AS = {
    "pillow": "PIL",
    "psycopg2-binary": "psycopg2",
    "pyyaml": "yaml",
    "ruamel-yaml": "ruamel",
    "scikit-learn": "sklearn",
    "open-clip-torch": "open_clip",
    "vl-convert-python": "vl_convert",
}
"""Packages whose module has another name."""
NOT_IMPORTED = {
    "pyarrow": "pandas reads and writes parquet by it",
    "timm": "open_clip builds image towers of it",
    "torchvision": "open_clip transforms images by it",
    "h5py": "examples of others' files in tests",
    "ipykernel": "runs the notebook of the library",
    "latex2mathml": "draws the formulas of the documentation, in docs/site/",
    "mkdocs": "a program",
    "mkdocs-material": "the documentation's theme",
    "mkdocstrings-python": "a plug-in of mkdocs",
    "mypy": "a program",
    "pytest-benchmark": "a plug-in of pytest",
    "pytest-xdist": "a plug-in of pytest",
    "ruamel-yaml-clib": "DVC reads its files by it; without it in Python, several times as long",
    "ruff": "a program",
    "setuptools": "builds the package without a network",
    "uv": "a program",
}
"""Packages that are needed without an import of ours, and why."""


def canonical(requirement: str) -> str:
    """The name of a requirement as packaging spells it.

    >>> canonical("dask[distributed]>=2024.5")
    'dask'
    """
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]).lower()


def names(requirements: Iterable[str]) -> set[str]:
    return {canonical(requirement) for requirement in requirements}


def imported(paths: Iterable[Path]) -> set[str]:
    """Top-level modules of others that files import, also inside functions and by pytest.importorskip."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module)
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "importorskip":
                found.add(node.args[0].value)
    beside = [
        path.stem
        for folder in ("tests", "studies", "docs")
        for path in (ROOT / folder).rglob("*")
        if path.suffix == ".py" or path.is_dir()
    ]
    own = {"emobench", *beside, "tests"}
    return {name.split(".")[0] for name in found} - own - set(sys.stdlib_module_names)


def modules(packages: Iterable[str]) -> dict[str, str]:
    """The module that each package is imported as."""
    return {package: IMPORTED_AS.get(package, package.replace("-", "_")) for package in packages}


BASE = names(PROJECT["dependencies"])


@cache
def imports_of(folder: str) -> set[str]:
    """Read when the first test asks."""
    return imported((ROOT / folder).rglob("*.py"))


def test_the_package_imports_what_it_declares() -> None:
    declared = BASE | names(EXTRAS["cluster"] + EXTRAS["landmarks"])
    assert sorted(imports_of("emobench") - set(modules(declared).values())) == [], "undeclared"


def test_the_tests_import_what_is_declared() -> None:
    assert sorted(imports_of("tests") - set(modules(BASE | names(EXTRAS["dev"])).values())) == [], "undeclared"


@pytest.mark.parametrize("group", ["dependencies", *EXTRAS])
def test_what_is_declared_is_used(group: str) -> None:
    declared = names(PROJECT["dependencies"] if group == "dependencies" else EXTRAS[group]) - set(NOT_IMPORTED)
    users = imports_of("emobench") | imports_of("tests") if group == "dev" else imports_of("emobench")
    assert [package for package, module in modules(declared).items() if module not in users] == []


def test_the_reasons_are_of_declared_packages() -> None:
    everything = BASE.union(*map(names, EXTRAS.values()))
    assert sorted((set(NOT_IMPORTED) | set(IMPORTED_AS)) - everything) == []


def locked(path: Path) -> dict[str, list[str]]:
    """The hashes of each package in a lock file; fails on a line that is neither a pinned package nor a hash."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#")).replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        assert re.fullmatch(r"[a-z0-9-]+==[\w.+!]+( ; .+)?", requirement), requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), line
        found[requirement.partition(" ;")[0]] = hashes
    return found


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("requirements.lock", PROJECT["dependencies"] + EXTRAS["dev"] + EXTRAS["cluster"]),
        ("requirements-docs.lock", EXTRAS["docs"]),
        ("requirements-landmarks.lock", EXTRAS["landmarks"]),
    ],
)
def test_a_lock_holds_what_is_declared_with_hashes(lock: str, requirements: list[str]) -> None:
    found = locked(ROOT / lock)
    assert all(found.values())
    assert sorted(names(requirements) - names(found)) == []


@pytest.mark.parametrize("other", ["requirements-docs.lock", "requirements-landmarks.lock"])
def test_the_locks_agree(other: str) -> None:
    first, second = (locked(ROOT / name) for name in ("requirements.lock", other))
    known = names(first)
    assert [one for one in second if canonical(one) in known and one not in first] == []
    assert all(first[one] == second[one] for one in first.keys() & second.keys())
