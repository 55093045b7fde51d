"""The loops that installation compiles are all that there are, and each kind of processor has its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The folder in which numba keeps what installation compiles."""
    folder = tmp_path_factory.mktemp("numba")
    command = [sys.executable, "-m", "emobench.dissection.first_use"]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    subprocess.run(command, env=environment, check=True, cwd=ROOT, capture_output=True)
    return folder


def test_every_loop_is_compiled_and_kept(kept):
    loops = set()
    for path in sorted((ROOT / "emobench/functional").rglob("*.py")):
        names = re.findall(r"^@compiled\n(?:@.*\n)*def (\w+)|^(\w+) = compiled\(", path.read_text(), re.MULTILINE)
        loops |= {f"{path.stem}.{name or other}" for name, other in names}
    found = {path.name.rpartition("-")[0] for path in kept.rglob("*.nbi")}
    assert len(loops) >= 20
    assert loops - found == set()


def test_each_kind_of_processor_compiles_for_itself(kept):
    """One installation on a cluster's shared disk: what one kind compiled another leaves alone, and is right."""
    before = set(kept.rglob("*.nbc"))
    # To numba a processor that has nothing beyond its family's first.
    other = os.environ | {"NUMBA_CACHE_DIR": str(kept), "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    oracle = [sys.executable, "-m", "pytest", "-q", "tests/functional/test_similarity.py", "-k", "plain_torch_paths"]
    done = subprocess.run(oracle, env=other, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert len(set(kept.rglob("*.nbc")) - before) >= 15
