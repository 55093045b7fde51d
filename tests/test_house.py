"""The structure itself: who may import whom, and that dvc.yaml, the layout and the lock tell the truth."""

import ast
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

import import_closure
import pytest
import yaml

import emobench
from emobench.cli import STAGES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "emobench"
MODULES = sorted(PACKAGE.rglob("*.py"))
FLOORS = [
    {
        "contracts",
        "cores",
        "costs",
        "device",
        "doctor",
        "errors",
        "failures",
        "files",
        "forked",
        "layout",
        "own_code",
        "params",
        "process",
        "progress",
        "quantities",
        "registry",
        "revisions",
        "schema",
        "seen",
        "settings",
        "stored",
        "stored_tables",
        "vocabulary",
        "weights",
        "__init__",
    },
    {"functional"},
    {"faces"},
    {"networks", "concepts"},
    {"dissection", "sweeps"},
    {"edits"},
    {"reporting"},
    {"tracking"},
    {"stages", "comparison", "inputs", "library"},
    {"cli_inputs", "cli_results", "cli_stages", "cli_units"},
    {"cli_studies"},
    {"cli"},
    {"__main__"},
]
ALLOWED = {
    "mlflow": ["emobench/tracking/"],
    "matplotlib": ["emobench/reporting/figures/"],
    "click": ["emobench/cli"],
    "open_clip": ["emobench/concepts/"],
    "mediapipe": ["emobench/concepts/landmarks.py"],
    "dask": ["emobench/sweeps/cluster.py"],
}


def floor(part: str) -> int:
    return next(number for number, parts in enumerate(FLOORS) if part in parts)


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_run_downwards(path: Path) -> None:
    own = part_of(path)
    for name in import_closure.imported_modules(path):
        file = import_closure.module_file(name)
        if file is None or file == PACKAGE / "__init__.py":
            continue
        other = part_of(file)
        if own == other:
            assert own != "stages", f"{path.name} imports another stage: {name}"
            continue
        assert floor(other) < floor(own) or floor(own) == 0 == floor(other), f"{own} imports {name}"


@pytest.mark.parametrize("library", ALLOWED)
def test_libraries_stay_where_they_belong(library: str) -> None:
    pattern = re.compile(rf"^\s*(import|from) {library}\b", re.MULTILINE)
    users = [path.relative_to(ROOT).as_posix() for path in MODULES if pattern.search(path.read_text())]
    assert [user for user in users if not user.startswith(tuple(ALLOWED[library]))] == []


def test_files_are_short() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 250} == {}
    assert statistics.median(lengths.values()) <= 110


def test_functions_are_short() -> None:
    """At most 40 lines, their docstring aside."""
    long = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                said = node.body[0] if ast.get_docstring(node) else None
                length = node.end_lineno - node.lineno + 1 - (said.end_lineno - said.lineno + 1 if said else 0)
                if length > 40:
                    long[f"{path.relative_to(ROOT)}: {node.name}"] = length
    assert long == {}


def stages() -> dict:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def test_stages_of_dvc_and_of_the_command_line_are_the_same() -> None:
    assert list(stages()) == list(STAGES)
    assert all(stage["cmd"] == f"emobench {name}" for name, stage in stages().items())


@pytest.mark.parametrize("name", list(STAGES))
def test_dvc_lists_the_modules_a_stage_imports(name: str) -> None:
    listed = sorted(dep for dep in stages()[name]["deps"] if dep.startswith("emobench/"))
    assert listed == import_closure.closure(PACKAGE / "stages" / f"{name}.py"), "run: make deps"


def test_help_is_quick_to_import() -> None:
    code = "import sys, emobench.cli; print({'torch', 'pandas', 'mlflow', 'numpy', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_a_stage_imports_only_the_heavy_packages_it_surely_needs() -> None:
    """One process imports stage after stage; each may add what is named here to what those before it loaded."""
    adds = {
        "prepare": [],
        "annotate": [],
        "network": ["torch"],
        "record": [],
        "dissect": ["numba"],
        "edit": [],
    }
    adds |= {"compare": [], "report": ["matplotlib"]}
    heavy = ["torch", "torch._dynamo", "sympy", "numba", "scipy.stats", "sklearn", "statsmodels", "matplotlib"]
    heavy += ["mlflow", "open_clip", "torchvision"]
    code = "import importlib, json, sys\nfor stage in sys.argv[1].split():\n    before = set(sys.modules)\n"
    code += "    importlib.import_module(f'emobench.stages.{stage}')\n"
    code += "    print(json.dumps([stage, sorted((set(sys.modules) - before) & set(sys.argv[2].split()))]))"
    command = [sys.executable, "-c", code, " ".join(adds), " ".join(heavy)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert dict(map(json.loads, done.stdout.splitlines())) == adds


def test_no_index_host_is_named() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    pattern = re.compile(rb"(pypi|pythonhosted)\.(org|io)|download\.pytorch|--(extra-)?index-url")
    texts = [ROOT / name for name in tracked if name and name != "tests/test_house.py"]
    assert [path.name for path in texts if path.is_file() and pattern.search(path.read_bytes())] == []


def test_the_citation_names_this_version_and_licence():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == emobench.__version__
    assert cited["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
