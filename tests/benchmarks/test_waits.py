"""Speed of what users wait for, in plain ways, on one core; ``ratios.py`` runs it and judges the ratios.

The ratio's floor is in floors.json. One core, and processor time: other work on the machine doesn't count then.
"""

import functools

import pytest
import torch
import waits
import waits_later
from plain_ways import CLOCK

pytestmark = [
    pytest.mark.benchmark(timer=CLOCK, disable_gc=True),
    pytest.mark.filterwarnings("default"),  # MLflow has its own, of SQLAlchemy
]
NATIVE_BFLOAT16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
CASES = {
    "training, float32": (functools.partial(waits.training, precision="float32"), 5),
    "training, bfloat16": (functools.partial(waits.training, precision="bfloat16"), 5),
    "recording": (waits.recording, 5),
    "clip training, float32": (functools.partial(waits.clip_training, precision="float32"), 5),
    "clip training, bfloat16": (functools.partial(waits.clip_training, precision="bfloat16"), 5),
    "embedding": (waits.embedding, 5),
    "dissecting": (waits_later.dissecting, 3),
    "sweeping": (waits_later.sweeping, 5),
    "controls": (functools.partial(waits_later.controls, early=False), 2),
    "controls stopped early": (functools.partial(waits_later.controls, early=True), 2),
    "logging": (waits_later.logging, 2),
    **{
        f"start of {stage}": (functools.partial(waits_later.start, stage=stage), 3)
        for stage in ("record", "edit", "track")
    },
}


@pytest.fixture
def one_core(monkeypatch):
    """One thread in this process and in those that it starts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("case", CASES)
def test_wait(case, benchmark, one_core, floors, tmp_path):
    if "bfloat16" in case and not NATIVE_BFLOAT16:
        pytest.skip("this CPU emulates bfloat16: nobody is meant to train with it here")
    make, rounds = CASES[case]
    part = make(tmp_path)
    CLOCK.against(benchmark, part.plain, part.tool, floor=floors[case], rounds=rounds, times=part.times)
