"""The help of a stage: read from dvc.yaml, so that it can't go stale."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from emobench import cli
from emobench.cli_stages import described

STAGES = yaml.safe_load((Path(__file__).parents[1] / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("stage", list(cli.STAGES))
def test_it_names_all_that_dvc_reads_and_writes(stage, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # no dvc.yaml here: the repository's is taken
    shown = CliRunner().invoke(cli.main, [stage, "--help"]).output
    lines = {line.strip() for line in shown.splitlines()}
    content = STAGES[stage]
    outs = [next(iter(one)) if isinstance(one, dict) else one
            for key in ("outs", "metrics", "plots") for one in content.get(key, [])]  # fmt: skip
    for out in outs:
        assert out.replace("${name}", "<name>") in lines
    assert set(content["params"]) <= lines
    deps = [dep for dep in content["deps"] if not dep.startswith("emobench")]
    assert {dep.replace("${name}", "<name>").replace("${", "<params: ").replace("}", ">") for dep in deps} <= lines
    assert "emobench/" not in shown
    assert list(described(stage)) == ["Params", "Reads", "Writes"]


def test_the_folders_own_dvc_yaml_counts_and_a_broken_one_is_no_matter(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    stage = {"cmd": "emobench prepare", "deps": ["mine/${name}"], "outs": [{"theirs": {"cache": False}}]}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"prepare": stage}}))
    assert described("prepare") == {"Reads": ["mine/<name>"], "Writes": ["theirs"]}
    for broken in ("stages: [", "stages: 3", "other: {}", "[]"):
        Path("dvc.yaml").write_text(broken)
        assert described("prepare") == {}
    assert CliRunner().invoke(cli.main, ["prepare", "--help"]).exit_code == 0
