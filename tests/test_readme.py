"""README's section on one's own network, run to the letter; the tables that people read, held against the reports."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import timm
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from small_sets import picture, write_files

from emobench import cli
from emobench.params import load_params

README = Path(__file__).parents[1] / "README.md"
CLASSES = ("angry", "fear", "happy", "sad", "surprise")


def commands(heading: str) -> list[list[str]]:
    """The words of each command in the section's first block, without comments."""
    section = README.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)[1].replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in block.splitlines()]


@pytest.mark.slow
def test_your_own_network(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    # DVC's part is tested in tests/inputs.
    monkeypatch.setattr("emobench.inputs.bring._put_under_dvc", lambda root, place: None)
    faces = {f"my_faces/{name}/{k}.jpg": picture(5 * k + place, (60, 70), form="JPEG")
             for place, name in enumerate(CLASSES) for k in range(3)}  # fmt: skip
    write_files(tmp_path, faces | {"data/raw/none": "", "concepts/README.md": ""})
    rows = "".join(f"{name.removeprefix('my_faces/')},{k % 2},{k % 3 / 2}\n" for k, name in enumerate(faces))
    write_files(tmp_path, {"my.csv": "concept,classes\nsmile,happy\nfrown,sad|angry\n"})
    write_files(tmp_path, {"my_scores.csv": f"image_id,smile,frown\n{rows}"})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(timm.create_model("resnet18", num_classes=5).state_dict(), "my.safetensors")
    shown = {}
    for program, *words in commands("Your own network"):
        if program == "emobench":
            result = CliRunner().invoke(cli.main, words)
            assert result.exit_code == 0, result.output
            shown[words[0]] = result.stdout
    assert list(shown) == ["use", "layers", "validate"]
    params = load_params()
    assert (params.name, params.network.architecture, params.edit.concept_set) == ("my_faces", "timm/resnet18", "my")
    assert (params.data.size, params.data.channels, params.annotate.source) == (60, 3, "file")
    assert "layer4.1.conv2" in shown["layers"]
    assert re.search(r"accuracy: \d+ of 15 images", shown["validate"])
    assert "params.yaml is fine: benchmark 'my_faces', folder images" in shown["validate"]


def test_tables_are_those_of_the_committed_reports() -> None:
    path = README.parent / "docs" / "tables.py"
    spec = importlib.util.spec_from_file_location("docs_tables", path)
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    measured = (path.parent / "measured.md").read_text()
    for table in (tables.side_by_side(), tables.table_one("fer2013"), tables.costs("fer2013")):
        assert table in measured
    assert tables.side_by_side() in README.read_text()
