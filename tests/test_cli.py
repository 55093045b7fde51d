import errno
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from emobench import cli

PRESETS = Path(cli.__file__).parent / "presets"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(PRESETS / "demo.yaml", "params.yaml")
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "none").touch()
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, arguments)


def test_help_lists_every_stage() -> None:
    shown = call("--help").output
    assert all(f"\n  {name} " in shown for name in [*cli.STAGES, "use", "validate", "ui", "where"])


def test_a_users_mistake_is_one_line_and_exit_code_1(folder) -> None:
    Path("params.yaml").write_text("name: demo\n")
    result = call("prepare")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("emobench: params: top level lacks seed, device")


def test_wrong_usage_is_exit_code_2(folder) -> None:
    assert call("prepare", "--fast").exit_code == 2
    assert call("prpare").exit_code == 2


def test_a_full_disk_is_one_line(folder, monkeypatch) -> None:
    from emobench.stages import prepare

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "data/demo/images.npy")

    monkeypatch.setattr(prepare, "run", full)
    result = call("prepare")
    assert result.exit_code == 1
    assert result.stderr == (
        "emobench: can't write, no space left on device: data/demo/images.npy; nothing half-written was kept\n"
    )


def test_other_errors_keep_their_traceback(folder, monkeypatch) -> None:
    from emobench.stages import prepare

    monkeypatch.setattr(prepare, "run", lambda *_: 1 / 0)
    assert isinstance(call("prepare").exception, ZeroDivisionError)


def test_validate_and_where(folder) -> None:
    assert "params.yaml is fine: benchmark 'demo'" in call("validate").output
    shown = call("where").output
    assert "not written yet" in shown
    page = folder / "reports" / "demo" / "index.html"
    page.parent.mkdir(parents=True)
    page.touch()
    assert str(page) in call("where").output


def test_costs_are_measured_and_the_latest_is_shown(folder, monkeypatch) -> None:
    from emobench.stages import prepare

    monkeypatch.setattr(prepare, "run", lambda *_: None)
    assert call("costs").output == "stage,seconds,peak_memory_mib\n"
    for _ in range(2):
        assert call("prepare").exit_code == 0
    header, row = call("costs").output.splitlines()
    assert header == "stage,seconds,peak_memory_mib"
    assert row.startswith("prepare,0.")
    assert int(row.split(",")[2]) > 20


def test_stages_before_their_inputs_say_what_to_run(folder) -> None:
    for stage in ("annotate", "baseline", "record", "dissect", "edit"):
        result = call(stage)
        assert result.exit_code == 1, stage
        assert "run the stage 'prepare' first" in result.stderr, stage
