"""The tutorial on one's own network, typed as written: a small ViT on drawn RGB faces, to a verdict."""

import importlib
import json
import re
from pathlib import Path

import documents
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from emobench import cli
from emobench.layout import Layout
from emobench.params import load_params

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*"),
]
CLASSES = ("surprise", "happy", "sad", "angry", "neutral")
"""In the order of the network's outputs, which is not the data's."""
PAGE = documents.ROOT / "docs" / "tutorials" / "own-network.md"
STAGES = ("prepare", "annotate", "network", "clip", "embed", "record", "dissect", "edit", "compare", "report", "track")
CONCEPTS = ("smile", "wide open mouth", "furrowed brows", "frown", "raised brows")


def typed(page: Path) -> dict[str, str]:
    """Types the page's commands, but for those of DVC, in this folder: what each command of emobench printed."""
    said, files = {}, documents.files(page)
    for program, *words in documents.commands(page):
        if program == "python":
            exec(compile(files[words[0]], words[0], "exec"), {"__name__": "__main__"})
        elif program == "emobench":
            result = CliRunner().invoke(cli.main, words)
            assert result.exit_code == 0, result.output
            said[words[0]] = result.stdout
    return said


@pytest.fixture(scope="module")
def run(tmp_path_factory, empty_store):
    """The lines that use and validate printed, and the layout after the last stage."""
    root = tmp_path_factory.mktemp("own")
    for folder in ("data/raw", "concepts", ".dvc"):
        (root / folder).mkdir(parents=True)
    (root / "data/raw/none").touch()
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        # DVC's part is tested in tests/inputs.
        patch.setattr("emobench.inputs.bring._put_under_dvc", lambda root, place: None)
        said = typed(PAGE)
        assert list(said) == ["use", "layers", "validate"]
        params, layout = load_params(), Layout("my_faces")
        for stage in STAGES:
            importlib.import_module(f"emobench.stages.{stage}").run(params, layout)
        yield said, Layout("my_faces", root)


def test_use_and_validate_tell_what_the_stages_find(run) -> None:
    said, layout = run
    card = json.loads((layout.data / "dataset.json").read_text())
    assert (card["classes"], card["size"], card["channels"]) == (
        ["angry", "happy", "sad", "surprise", "neutral"],
        64,
        3,
    )
    right, tried = map(int, re.search(r"accuracy: (\d+) of (\d+) images", said["validate"]).groups())
    measured = json.loads((layout.reports / "network.json").read_text())
    assert right / tried > 0.3  # Chance is a fifth, with a standard deviation of .03.
    assert measured["val_test"]["accuracy"] == pytest.approx(right / tried, abs=0.15)
    layers = json.loads((layout.models / "network" / "network.json").read_text())["layers"]
    assert [line.split()[0] for line in said["layers"].splitlines()[1 : 1 + len(layers)]] == [
        one["name"] for one in layers
    ]


def test_a_verdict_is_reached_on_the_layer_with_most_readable_units(run) -> None:
    _, layout = run
    verdicts = pd.read_parquet(layout.artifacts / "verdicts.parquet")
    assert len(verdicts)
    assert verdicts["verdict"].str.len().min() > 0
    assert verdicts["mcnemar_p"].between(0, 1).all()
    configs = pd.read_parquet(layout.artifacts / "configs.parquet")
    layers = pd.read_parquet(layout.artifacts / "layers.parquet")
    chosen = layers[
        (layers["concept_set"] == "my") & (layers["similarity_fn"] == "soft_wpmi") & (layers["layer"] != "head")
    ]
    assert set(configs["layer"].dropna()) == {chosen.loc[chosen["num_interp"].idxmax(), "layer"]}


def test_units_are_described_by_the_users_concepts_and_pages_name_them(run) -> None:
    _, layout = run
    units = pd.read_parquet(layout.artifacts / "units.parquet")
    assert set(units.loc[units["concept_set"] == "my", "description"]) <= set(CONCEPTS)
    page = (layout.reports / "index.html").read_text()
    assert "no evidence" in page or "improves" in page
    for word in ("FER2013", "VGG", "lin2", "48x48"):
        assert word not in page, word
