"""`make setup` with programs of the tests' own: they write down how they were called, and fail where a test says so."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ("awk", "bash", "cat", "chmod", "cp", "make", "sed", "sh", "touch")
LOCK = (
    "numpy==2.4.6 \\\n    --hash=sha256:11\nuv==0.13.9 \\\n    --hash=sha256:22 \\\n    --hash=sha256:33\nzict==3.0.0\n"
)
PYTHON = """#!/bin/sh
echo "python $*" >> calls.txt
for last; do :; done
case "$*" in
  *--version*) exit 0 ;;
  *"-r /dev/fd/"*)
    cat "$last" > uv.lock
    {uv_by_pip} && cp uv-program .venv/bin/uv ;;
  *) {pip} ;;
esac
"""
UV = """#!/bin/sh
echo "uv $*" >> calls.txt
case "$1" in --version) echo uv 9 ;; *) {uv} ;; esac
"""
BY_UV = [
    "uv pip install --quiet --python .venv/bin/python --compile-bytecode --require-hashes -r requirements.lock",
    "uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .",
]
PIP = "python -m pip --quiet --disable-pip-version-check install"
BY_PIP = [f"{PIP} --require-hashes -r requirements.lock", f"{PIP} --no-deps --no-build-isolation --editable ."]


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the real Makefile and install.sh; by default uv is not on the path and everything works."""
    monkeypatch.chdir(tmp_path)
    for name in ("Makefile", "install.sh", "pyproject.toml"):
        shutil.copy(ROOT / name, name)
    Path("requirements.lock").write_text(LOCK)
    Path("requirements-landmarks.lock").write_text("mediapipe==1.2.2\n")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in TOOLS:
        (tools / tool).symlink_to(shutil.which(tool))
    return tools


def machine(
    tools: Path, *, on_path: bool = False, uv: str = "true", uv_by_pip: str = "true", pip: str = "true"
) -> None:
    """What works on this machine: shell commands that succeed or fail."""
    program(Path(".venv/bin/python"), PYTHON.format(uv_by_pip=uv_by_pip, pip=pip))
    program(Path(".venv/bin/emobench"), "#!/bin/sh\n")
    program(Path("uv-program"), UV.format(uv=uv))
    if on_path:
        shutil.copy("uv-program", tools / "uv")


def setup(tools: Path, *arguments: str) -> tuple[subprocess.CompletedProcess, list[str]]:
    """Runs make setup: what it said, and the installs that it called."""
    environment = {"PATH": str(tools), "HOME": os.environ.get("HOME", "/")}
    command = [str(tools / "make"), "setup", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    calls = Path("calls.txt").read_text().splitlines() if Path("calls.txt").exists() else []
    return done, [call for call in calls if " install " in call]


def test_uv_of_the_path_installs_the_lock_and_then_nothing_is_left_to_do(project):
    machine(project, on_path=True)
    done, calls = setup(project)
    assert (done.returncode, calls) == (0, BY_UV)
    assert "setup: installing requirements.lock by uv 9\n" in done.stdout
    assert "setup: .venv is ready after" in done.stdout
    again, calls = setup(project)
    assert (again.returncode, calls) == (0, BY_UV)
    assert "installing" not in again.stdout


def test_without_uv_the_locked_one_is_put_into_the_environment(project):
    machine(project)
    done, calls = setup(project)
    assert done.returncode == 0
    assert calls[0].startswith(f"{PIP} --require-hashes -r /dev/fd/")
    assert calls[1:] == BY_UV
    assert Path("uv.lock").read_text() == "uv==0.13.9 \\\n    --hash=sha256:22 \\\n    --hash=sha256:33\n"
    assert "setup: no uv on the path: putting it into .venv\n" in done.stdout


@pytest.mark.parametrize("broken", ["exit 132", "echo no such index >&2; false"])
def test_a_broken_uv_is_a_line_and_pip(project, broken):
    machine(project, on_path=True, uv=broken)
    done, calls = setup(project)
    assert (done.returncode, calls) == (0, [BY_UV[0], *BY_PIP])
    assert done.stdout.count("setup: uv broke: installing requirements.lock by pip, which takes minutes\n") == 1


def test_a_uv_that_cannot_even_tell_its_version_is_broken(project):
    machine(project)
    program(project / "uv", "#!/bin/sh\nexit 126\n")
    done, calls = setup(project)
    assert (done.returncode, calls) == (0, BY_PIP)
    assert "setup: uv broke" in done.stdout


def test_a_uv_that_cannot_be_had_is_a_line_and_pip(project):
    machine(project, uv_by_pip="false")
    done, calls = setup(project)
    assert (done.returncode, calls[1:]) == (0, BY_PIP)
    assert "setup: uv can't be had: installing requirements.lock by pip, which takes minutes\n" in done.stdout


def test_what_neither_can_install_is_no_environment(project):
    machine(project, on_path=True, uv="false", pip="false")
    done, calls = setup(project)
    assert (done.returncode, calls) == (2, [BY_UV[0], BY_PIP[0]])
    assert not list(Path(".venv").glob(".ready*"))


def test_extras_have_locks_of_their_own(project):
    machine(project, on_path=True)
    _, calls = setup(project, "EXTRAS=dev,landmarks")
    assert calls[0].endswith("--require-hashes -r requirements.lock -r requirements-landmarks.lock")
    done, _ = setup(project, "EXTRAS=dev,landmark")
    assert done.returncode == 2
    assert "requirements-landmark.lock" in done.stderr


def test_a_changed_lock_is_installed(project):
    machine(project, on_path=True)
    setup(project)
    ready = Path(".venv/.ready-dev").stat().st_mtime
    os.utime("requirements.lock", (ready + 5, ready + 5))
    assert setup(project)[1] == BY_UV * 2


def test_an_old_python_is_refused(project):
    program(project / "python3", "#!/bin/sh\ncase $1 in -c) exit 1 ;; esac\n")
    done, _ = setup(project)
    assert done.returncode == 2
    assert "setup: python3 is no Python 3.11 or newer; name one: make setup PYTHON=python3.13" in done.stderr
