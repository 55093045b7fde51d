"""The loop over seeds: what it would run is valid, and what was there comes back."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))
import seeds
from click.testing import CliRunner

from emobench.params import load_params


def test_each_seed_is_a_benchmark_of_its_own_and_what_stood_there_comes_back(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("mine")
    seen = []

    def step(command, check):
        params = load_params("params.yaml")
        seen.append((command[2:], params.name, params.seed, params.edit.arms, params.dissect.similarity_fns))
        (tmp_path / "dvc.lock").write_text(params.name)

    monkeypatch.setattr(seeds.subprocess, "run", step)
    done = CliRunner().invoke(seeds.main, ["1", "7"], catch_exceptions=False)
    assert done.exit_code == 0
    steps = [["dvc", "repro"], ["emobench", "reference", "--tables"]]
    assert seen == [
        (step, f"demo-seed{seed}", seed, ["similarity"], ["soft_wpmi"]) for seed in (1, 7) for step in steps
    ]
    assert (tmp_path / "params.yaml").read_text() == "mine"


def test_an_interrupted_loop_puts_everything_back(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "dvc.lock"):
        (tmp_path / name).write_text(f"my {name}")
    monkeypatch.setattr(seeds.subprocess, "run", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        CliRunner().invoke(seeds.main, ["1"], catch_exceptions=False)
    assert [(tmp_path / name).read_text() for name in ("params.yaml", "dvc.lock")] == ["my params.yaml", "my dvc.lock"]
