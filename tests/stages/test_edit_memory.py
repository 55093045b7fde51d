"""The bound edit.memory_gib holds: what the stage takes on top of Python and its libraries, in all its processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BOUND_GIB = 0.25
SLACK_MIB = 160
"""Scratch of torch's kernels and what the allocator keeps of it: it doesn't grow with images or configurations."""
PROGRAM = """
import json, os, sys, threading
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import psutil
import torch
from edit_bench import small_params, write_benchmark
from emobench.sweeps import scaled
from emobench.stages import edit

if sys.argv[4] == "broken":
    scaled.MOST_AT_ONCE = 10**9
    scaled._image_bytes = lambda *of: (1, 1)
root, bound = Path(sys.argv[2]), float(sys.argv[3])
os.chdir(root)
search = {"kinds": ["free"], "penalties": [1.0], "steps": 2, "batch_size": 4000, "joint": ["conv1b", "conv2a"]}
search |= {"joint_kinds": ["free"]}
params = small_params(layer="conv1b", search=search, memory_gib=bound, jobs=1, draws=4)
layout = write_benchmark(root, train=5, val=1500, test=1500)
me, most, done = psutil.Process(), [0], threading.Event()


def held():
    return me.memory_full_info().pss


def watch():
    while not done.wait(0.01):
        most[0] = max(most[0], held())


before = held()
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
edit.run(params, layout)
done.set()
watcher.join()
print(json.dumps({"before": before, "most": most[0]}))
"""


def grown_mib(root: Path, how: str) -> float:
    """By how much the stage's memory grew at most."""
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[1]), str(root), str(BOUND_GIB), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return (found["most"] - found["before"]) / 2**20


@pytest.mark.slow
def test_the_stage_holds_no_more_than_its_bound(tmp_path) -> None:
    assert grown_mib(tmp_path, "as it is") < BOUND_GIB * 1024 + SLACK_MIB


@pytest.mark.slow
def test_the_measurement_sees_a_broken_bound(tmp_path) -> None:
    assert grown_mib(tmp_path, "broken") > BOUND_GIB * 1024 + SLACK_MIB
