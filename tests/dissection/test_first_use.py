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
