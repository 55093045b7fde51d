"""The loops that installation compiles are all that there are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_loop_is_compiled_and_kept(tmp_path):
    loops = set()
    for path in sorted((ROOT / "emobench/functional").rglob("*.py")):
        names = re.findall(r"^@compiled\n(?:@.*\n)*def (\w+)|^(\w+) = compiled\(", path.read_text(), re.MULTILINE)
        loops |= {f"{path.stem}.{name or other}" for name, other in names}
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "emobench.dissection.first_use"]
    subprocess.run(command, env=environment, check=True, cwd=ROOT, capture_output=True)
    kept = {path.name.rpartition("-")[0] for path in tmp_path.rglob("*.nbi")}
    assert len(loops) >= 20
    assert loops - kept == set()


@pytest.mark.slow
def test_each_kind_of_processor_compiles_for_itself(tmp_path):
    """One installation on a cluster's shared disk: what one kind compiled, another leaves alone, and computes rightly."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "emobench.dissection.first_use"]
    subprocess.run(command, env=environment, check=True, cwd=ROOT, capture_output=True)
    kept = set(tmp_path.rglob("*.nbc"))
    # To numba a processor that has nothing beyond its family's first: code for this one would run here, and not there.
    other = environment | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    oracle = [sys.executable, "-m", "pytest", "-q", "tests/functional/test_similarity.py", "-k", "plain"]
    done = subprocess.run(oracle, env=other, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert len(set(tmp_path.rglob("*.nbc")) - kept) >= 15
