import json
import subprocess
import sys
import time

import numpy as np
import pytest

from emobench import costs
from emobench.layout import Layout

MIB = 2**20


def row(tmp_path):
    return json.loads((tmp_path / "artifacts" / costs.FILE).read_text().splitlines()[-1])


def test_memory_is_that_of_all_processes_together(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(costs, "LOOK_SECONDS", 0.05)
    held = np.ones(200 * MIB, np.uint8)
    code = f"import time; held = bytearray(b'1') * {300 * MIB}; print(len(held), flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with costs.measured(Layout("demo", tmp_path), "edit"), child:
        assert int(child.stdout.readline()) == 300 * MIB
        time.sleep(1)
        child.kill()
    found = row(tmp_path)
    assert (found["benchmark"], found["stage"]) == ("demo", "edit")
    assert found["peak_memory_mib"] > 500
    assert found["seconds"] >= 1
    assert held.all()


def test_a_stage_that_fails_has_no_cost(tmp_path) -> None:
    with pytest.raises(ValueError, match="broken"), costs.measured(Layout("demo", tmp_path), "edit"):
        raise ValueError("broken")
    assert not (tmp_path / "artifacts" / costs.FILE).exists()
