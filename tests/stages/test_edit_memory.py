"""The bound edit.memory_gib holds: what the stage takes on top of Python and its libraries, in all its processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from edit_bench import write_benchmark

BOUND_GIB = 0.25
IMAGES = 1200
"""On val, and on test: a gradient of all of val at once needs far more than bound and slack."""
SLACK_MIB = 130
"""Scratch of torch's kernels and what the allocator keeps of it: it doesn't grow with images or configurations."""
# Libraries that the stage imports late are imported first: they are not what the bound is about.
PROGRAM = """
import json, os, sys
from pathlib import Path

import sklearn.model_selection
import torch.export._trace

sys.path.insert(0, sys.argv[1])
from edit_bench import small_params
from emobench.layout import Layout
from emobench.sweeps import scaled
from emobench.stages import edit

if sys.argv[4] == "broken":
    scaled.MOST_AT_ONCE = 10**9
    scaled._image_bytes = lambda *of: (1, 1)
root, bound = Path(sys.argv[2]), float(sys.argv[3])
os.chdir(root)
search = {"kinds": ["free"], "penalties": [1.0], "steps": 2, "batch_size": 4000, "joint": ["conv1b", "conv2a"]}
search |= {"joint_kinds": ["free"]}
few = {"arms": ["similarity"], "taus": [0.0], "factors": [1.5], "draws": 0 if sys.argv[4] == "broken" else 2}
params = small_params(layer="conv1b", search=search, memory_gib=bound, jobs=1, **few)


def kib(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


before = kib("VmRSS")
edit.run(params, Layout("small", root))
print(json.dumps({"grown_mib": (kib("VmHWM") - before) / 1024}))
"""


@pytest.fixture(scope="module")
def benchmark_folder(tmp_path_factory) -> Path:
    """What the stage reads."""
    root = tmp_path_factory.mktemp("memory")
    write_benchmark(root, train=5, val=IMAGES, test=IMAGES)
    return root


def grown_mib(root: Path, how: str) -> float:
    """By how much the stage's memory grew at most: the kernel keeps the peak, so that none is missed."""
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[1]), str(root), str(BOUND_GIB), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])["grown_mib"]


@pytest.mark.slow
def test_the_stage_holds_no_more_than_its_bound(benchmark_folder) -> None:
    assert grown_mib(benchmark_folder, "as it is") < BOUND_GIB * 1024 + SLACK_MIB


@pytest.mark.slow
def test_the_measurement_sees_a_broken_bound(benchmark_folder) -> None:
    assert grown_mib(benchmark_folder, "broken") > BOUND_GIB * 1024 + SLACK_MIB
