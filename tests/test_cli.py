import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import edit_bench
import pytest
from click.shell_completion import get_completion_class
from click.testing import CliRunner, Result
from reporting import small_reports as small

from emobench import cli
from emobench.costs import cores, cpu_name
from emobench.stages import edit

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
    assert all(
        f"\n  {name} " in shown for name in [*cli.STAGES, "use", "layers", "validate", "ui", "where", "diff", "export"]
    )
    assert "Exit codes: 0 fine, 1 a mistake of yours (told in one line), 2 wrong usage" in shown


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
    assert call("costs").output == "stage,seconds,cpu_seconds,peak_memory_mib,precision,cpu,cores,ended\n"
    assert call("costs", "--format", "table").output == "no stage has run here yet; run dvc repro\n"
    for _ in range(2):
        assert call("prepare").exit_code == 0
    header, row = csv.reader(call("costs").output.splitlines())
    assert header == ["stage", "seconds", "cpu_seconds", "peak_memory_mib", "precision", "cpu", "cores", "ended"]
    assert (row[0], *row[4:7]) == ("prepare", "float32", cpu_name(), str(cores()))
    assert float(row[1]) >= 0
    assert float(row[2]) >= 0
    assert int(row[3]) > 20
    heads, _, line, total, machine = call("costs", "--format", "table").output.splitlines()
    assert heads.split()[:6] == ["stage", "seconds", "CPU", "seconds", "peak", "MiB"]
    assert line.split() == ["prepare", *row[1:5], *row[7].split()]
    assert total.split() == ["all", *row[1:4]]
    assert machine == f"on {cpu_name()}, {cores()} cores"


def test_stages_before_their_inputs_say_what_to_run(folder) -> None:
    for stage in ("annotate", "network", "record", "dissect", "edit"):
        result = call(stage)
        assert result.exit_code == 1, stage
        assert "run the stage 'prepare' first" in result.stderr, stage


def test_json_for_programs(folder) -> None:
    pages = json.loads(call("where", "--json").stdout)
    assert pages == {"benchmark": "demo", "report": None, "report_with_top_images": None}
    tried = json.loads(call("validate", "--json").stdout)
    assert (tried["benchmark"], tried["source"], tried["valid"], tried["mistakes"]) == ("demo", "synthetic", True, [])
    assert any(line.startswith("network: vggnet, trained here; it takes grey 40x40") for line in tried["messages"])
    assert json.loads(call("costs", "--json").stdout) == []
    used = json.loads(call("use", "demo", "--json").stdout)
    assert used["benchmark"] == used["preset"] == "demo"
    assert used["messages"][-1] == "next: emobench validate, then dvc repro"
    costs = folder / "artifacts" / "stage_costs.jsonl"
    costs.parent.mkdir()
    costs.write_text('{"benchmark": "demo", "stage": "clip", "seconds": 1.5, "peak_memory_mib": 70}\n')
    unknown = dict.fromkeys(("cpu_seconds", "precision", "cpu", "cores", "ended"), "")
    row = {"stage": "clip", "seconds": 1.5, "peak_memory_mib": 70}
    assert json.loads(call("costs", "--json").stdout) == [row | unknown]


@pytest.fixture
def reports(tmp_path, monkeypatch) -> Path:
    """Reports of two benchmarks; in ``worse`` the network errs on 20 test images more."""
    monkeypatch.chdir(tmp_path)
    for name, wrong in (("better", 5), ("worse", 25)):
        preds = {"baseline": small.answers(range(wrong)), "chosen": small.answers(range(wrong))}
        small.write_verdicts(small.write_benchmark(tmp_path, name, preds), [{"config_id": small.CHOSEN}])
    return tmp_path


def test_leaderboard(reports) -> None:
    rows = json.loads(call("leaderboard", "--format", "json").stdout)
    assert [row["benchmark"] for row in rows] == ["better", "better", "worse", "worse"]
    read = list(csv.DictReader(io.StringIO(call("leaderboard", "worse", "--format", "csv", "--top", "1").stdout)))
    assert [(row["benchmark"], row["config_id"]) for row in read] == [("worse", "baseline")]
    assert "92.65%" in call("leaderboard").stdout
    assert call("leaderboard", "--sort", "nll", "--images", "val", "--format", "md").exit_code == 0
    result = call("leaderboard", "nix")
    assert (result.exit_code, result.stderr) == (1, "emobench: unknown benchmark 'nix'; known: better, worse\n")
    assert call("leaderboard", "--top", "0").exit_code == 2


def test_diff_ends_a_build_at_a_regression_alone(reports) -> None:
    worse = call("diff", "reports/better", "reports/worse")
    assert worse.exit_code == 3
    assert "an accuracy got worse by more than luck explains" in worse.stdout
    assert call("diff", "reports/worse", "reports/better").exit_code == 0
    shown = call("diff", "reports/better", "reports/worse", "--metric", "*_nll", "--format", "json")
    assert (shown.exit_code, json.loads(shown.stdout)["regression"]) == (0, False)
    assert call("diff", "reports/better", "nix").exit_code == 1
    assert call("diff", "reports/better").exit_code == 2
    assert call("diff", "reports/better", "reports/worse", "--level", "1").exit_code == 2


def test_export(tmp_path, monkeypatch) -> None:
    params = edit_bench.small_params(arms=["weight_norm"])
    layout = edit_bench.write_benchmark(tmp_path)
    edit.run(params, layout)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("emobench.params.load_params", lambda: params)
    done = call("export", "chosen", "edited.safetensors")
    assert done.exit_code == 0, done.output
    assert "answers all 90 val and test images as predicted" in done.stdout
    assert (tmp_path / "edited.safetensors").is_file()
    assert "not checked" in call("export", "baseline", "base.safetensors", "--no-check").stdout
    assert call("export", "nix", "base.safetensors").exit_code == 1


def test_completion(reports, monkeypatch) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_EMOBENCH_COMPLETE" in call("completion", shell).stdout
    assert call("completion", "csh").exit_code == 2
    for words, found in {
        "leaderboard b": ["better"],
        "use fe": ["fer2013"],
        "use j": ["jaffe"],
        "lea": ["leaderboard"],
    }.items():
        *before, last = words.split()
        complete = get_completion_class("fish")(cli.main, {}, "emobench", "_EMOBENCH_COMPLETE")
        assert [item.value for item in complete.get_completions(before, last)] == found


@pytest.mark.parametrize("command", ["--help", "leaderboard --help"])
@pytest.mark.parametrize(("streams", "words"), [(">&-", "is closed"), (">/dev/full", "is full")])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_where_nothing_can_be_printed_that_is_told(command, streams, words, unbuffered) -> None:
    shell = ["sh", "-c", f"{sys.executable} -m emobench {command} {streams}"]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(shell, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (1, f"emobench: can't print: standard output {words}\n")
