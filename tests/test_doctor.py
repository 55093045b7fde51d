"""What the doctor tells of a machine; what it has itself is asked of it by the same means and not asserted."""

import json
import sys

import pytest
from click.testing import CliRunner

from emobench import cli, device, doctor


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A machine without any program, package or library that is optional."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(doctor.Path, "glob", lambda *_: iter(()))
    monkeypatch.setattr(doctor.ctypes, "CDLL", lambda name, **_: (_ for _ in ()).throw(OSError(name)))
    return tmp_path


def call(*arguments: str) -> str:
    return CliRunner().invoke(cli.main, ["validate", "--machine", *arguments], catch_exceptions=False).output


def test_it_needs_no_params_and_fits_on_a_screen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = call().splitlines()
    assert len(lines) <= 24
    for title in ("CPU", "precision", "memory", "disk", "GPU", "versions", *doctor.PARTS):
        assert sum(line.startswith(f"{title} ") for line in lines) == 1


def test_json_has_what_the_lines_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = json.loads(call("--json"))
    assert found["cpu"]["cores"] >= 1
    assert found["cpu"]["name"]
    assert 0 < found["memory_gb"]["free"] <= found["memory_gb"]["total"]
    assert found["disk_gb"]["free"] > 0
    assert list(found["parts"]) == list(doctor.PARTS)


@pytest.mark.parametrize(("native", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_the_precision_is_what_the_device_computes_itself(tmp_path, monkeypatch, native, chosen):
    monkeypatch.setattr(doctor, "computes_bfloat16", lambda name: native)
    found = doctor.examine(tmp_path)
    assert found["precision"]["cpu"] == chosen
    line = next(line for line in doctor.told(found) if line.startswith("precision"))
    assert f"auto is {chosen} on cpu" in line
    assert ("emulated" in line) != native


def test_the_capability_is_a_yes_or_no():
    assert device.computes_bfloat16("cpu") in (True, False)


def test_every_missing_part_says_what_it_switches_off(elsewhere):
    found = doctor.examine(elsewhere)
    assert [part["found"] for part in found["parts"].values()] == [None] * len(doctor.PARTS)
    lines = doctor.told(found)
    for name, (_, without) in doctor.PARTS.items():
        assert f"{name:<11} missing: {without}" in lines


def test_a_program_on_the_path_is_found(elsewhere):
    program = elsewhere / "chromium-browser"
    program.write_text("")
    program.chmod(0o755)
    assert doctor.examine(elsewhere)["parts"]["Chromium"]["found"] == str(program)


def test_cpu_and_memory_are_what_the_kernel_and_the_container_say(tmp_path, monkeypatch):
    cpu, bound, real = tmp_path / "cpuinfo", tmp_path / "memory.max", doctor.Path
    cpu.write_text(
        "model name\t: Old Chip\nflags\t\t: fpu avx2 fma\n\nmodel name\t: Old Chip\nflags\t\t: fpu avx2 fma\n"
    )
    bound.write_text("500000000\n")
    places = {"/proc/cpuinfo": cpu, "/sys/fs/cgroup/memory.max": bound}
    monkeypatch.setattr(doctor, "Path", lambda name="": places.get(name) or real(name))
    found = doctor.examine(tmp_path)
    assert found["cpu"]["name"] == "Old Chip"
    assert found["cpu"]["vector_units"] == ["avx2", "fma"]
    assert found["memory_gb"] == {"total": 0.5, "free": 0.5}


def test_a_gpu_is_named(tmp_path):
    found = doctor.examine(tmp_path) | {"gpu": {"name": "Some GPU", "memory_gb": 8.0}}
    assert f"{'GPU':<11} Some GPU, 8 GB" in doctor.told(found)
