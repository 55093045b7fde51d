"""An image-text model of one's own by ``emobench use --clip``."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from emobench import cli
from emobench.params import load_params

clip_forms = pytest.importorskip("clip_forms")
OWN = (
    "use",
    "folder",
    "--archive",
    "../mine/my_faces",
    "--network",
    "../mine/net.py:build",
    "--concepts",
    "../mine/my.csv",
)


def test_a_folder_as_on_the_hub_ranks_all_concepts(own) -> None:
    config = clip_forms.OPENAI_TINY
    clip_forms.write_hub_folder(own / "tiny", clip_forms.random_model(config), config)
    result = CliRunner().invoke(cli.main, [*OWN, "--clip", "../mine/tiny"])
    assert result.exit_code == 0, result.output
    params = load_params()
    assert (params.clip.source, params.clip.model, params.clip.image_mean) == ("checkpoint", "", [])
    assert params.clip.input == "data/raw/my_faces-clip"
    assert params.concept_sets == ["emotions", "expressions", "concepts/my.csv"]
    assert (params.edit.concept_set, params.annotate.source) == ("my", "none")
    shown = CliRunner().invoke(cli.main, ["validate"])
    assert shown.exit_code == 0, shown.output
    assert " loads and embeds" in shown.stdout


def test_what_is_no_clip_is_told_before_anything_is_written(own) -> None:
    for given, message in (
        ("net.safetensors", "holds only weights; expected the open_clip name"),
        ("my_faces", "expected open"),
    ):
        result = CliRunner().invoke(cli.main, [*OWN, "--clip", f"../mine/{given}"])
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert message in result.stderr
    assert not Path("params.yaml").exists()
