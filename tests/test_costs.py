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


def test_the_machine_and_the_precision_are_named(tmp_path, monkeypatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nmodel name\t: Some CPU, v2 @ 2.5 GHz\nmodel name\t: Other\n")
    assert costs.cpu_name(info) == "Some CPU, v2 @ 2.5 GHz"
    assert costs.cpu_name(tmp_path / "none")
    layout = Layout("demo", tmp_path)
    layout.reports.mkdir(parents=True)
    (layout.reports / "baseline.json").write_text('{"precision": "bfloat16"}')
    monkeypatch.setattr(costs, "cpu_name", lambda: "Some CPU, v2")
    for stage in ("baseline", "embed"):
        with costs.measured(layout, stage):
            pass
    rows = costs.latest(layout)
    assert [(row["precision"], row["cpu"], row["cores"]) for row in rows] == [
        ("bfloat16", "Some CPU, v2", costs.cores()), ("float32", "Some CPU, v2", costs.cores())
    ]  # fmt: skip
    assert '"Some CPU, v2"' in costs.lines(rows, "csv")[1]


def test_a_disk_that_is_full_for_the_costs_names_their_file(tmp_path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / costs.FILE).symlink_to("/dev/full")
    with pytest.raises(OSError, match=costs.FILE), costs.measured(Layout("demo", tmp_path), "edit"):
        pass


def test_processor_time_is_that_of_all_processes(tmp_path) -> None:
    """Of this one, of one that has ended, and of one that still runs at the end; what came before doesn't count."""
    spin = "import time\nwhile time.process_time() < .4: pass\nprint(flush=True)\n"
    subprocess.run([sys.executable, "-c", spin], check=True)
    with costs.measured(Layout("demo", tmp_path), "edit"):
        subprocess.run([sys.executable, "-c", spin], check=True)
        child = subprocess.Popen([sys.executable, "-c", spin + "time.sleep(60)"], stdout=subprocess.PIPE)
        child.stdout.readline()
        end = time.process_time() + 0.4
        while time.process_time() < end:
            pass
    child.kill()
    child.communicate()
    assert 1.1 <= row(tmp_path)["cpu_seconds"] < 1.8


def test_a_stage_that_fails_has_no_cost(tmp_path) -> None:
    with pytest.raises(ValueError, match="broken"), costs.measured(Layout("demo", tmp_path), "edit"):
        raise ValueError("broken")
    assert not (tmp_path / "artifacts" / costs.FILE).exists()


def test_stages_that_ran_side_by_side_count_once() -> None:
    def ran(stage, seconds, ended):
        return dict.fromkeys(costs.COLUMNS, "") | {"stage": stage, "seconds": seconds, "ended": ended,
                                                   "cpu_seconds": 5.0, "peak_memory_mib": 70}  # fmt: skip

    rows = [
        ran("prepare", 10.0, "2026-11-29 08:00:10"),
        ran("network", 60.0, "2026-11-29 08:01:20"),
        ran("clip", 40.0, "2026-11-29 08:01:30"),
        ran("embed", 5.0, "2026-11-29 08:01:38"),
    ]
    assert costs.lines(rows, "table")[-1].split() == ["all", "85.0", "20.0", "70"]
    rows[1]["ended"] = "2026-11-29 08:01"  # as an earlier version wrote it
    assert costs.lines(rows, "table")[-1].split() == ["all", "115.0", "20.0", "70"]
