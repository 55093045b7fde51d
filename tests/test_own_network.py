"""A small ViT on drawn faces at 64x64 RGB in five classes: from ``emobench use`` through every stage to a verdict."""

import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from click.testing import CliRunner
from PIL import Image
from ruamel.yaml import YAML
from safetensors.torch import save_file
from torch.nn import functional as F

from emobench import cli
from emobench.faces.synthetic.faces import synthesize
from emobench.layout import Layout
from emobench.params import load_params
from emobench.vocabulary.class_names import BASIC

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*"),
]
CLASSES = ("surprise", "happy", "sad", "angry", "neutral")
"""In the order of the network's outputs, which is not the data's."""
OPTIONS = {"img_size": 64, "depth": 2, "embed_dim": 48, "num_heads": 3}
CONCEPTS = {
    "smile": "happy",
    "wide open mouth": "surprise",
    "furrowed brows": "angry",
    "frown": "sad",
    "raised brows": "",
}
STAGES = ("prepare", "annotate", "network", "clip", "embed", "record", "dissect", "edit", "compare", "report", "track")
FEW = {
    "clip.training": {"epochs": 1, "captions": 4, "text_width": 32, "image_width": 8},
    "record": {"noise": 0.0},
    "dissect": {"similarity_fns": ["soft_wpmi"], "null_draws": 200, "resamples": 1},
    "edit": {
        "taus": [0.0, 0.25, 0.5, 1.0],
        "factors": [1.5],
        "jobs": 1,
        "arms": ["similarity", "accuracy"],
        "operations": ["rows"],
    },
    "edit.controls": {"draws": 10, "least": 10},
    "edit.search": {"kinds": ["free"], "steps": 5, "folds": 2, "penalties": [1.0], "exponents": [1.0]},
    "compare": {"bootstrap_draws": 200},
}
"""What a test may take less of; all else is as ``emobench use`` wrote it."""


def write_faces(folder: Path, count: int) -> None:
    """Writes my_faces/class/file, my_scores.csv (what was drawn) and my.csv."""
    faces = synthesize(count, 3, label_noise=0)
    rows = []
    for row, label in enumerate(faces.labels):
        if BASIC[label] in CLASSES:
            path = folder / "my_faces" / BASIC[label] / f"{row:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = Image.fromarray(faces.images[row]).resize((64, 64), Image.Resampling.BILINEAR)
            Image.merge(
                "RGB", [grey, grey.point(lambda value: value * 0.9), grey.point(lambda value: value * 0.8)]
            ).save(path)
            rows.append({"image_id": f"{BASIC[label]}/{row:04d}.png"} | faces.truth.iloc[row][list(CONCEPTS)].to_dict())
    pd.DataFrame(rows).to_csv(folder / "my_scores.csv", index=False)
    lines = "".join(f"{concept},{classes}\n" for concept, classes in CONCEPTS.items())
    (folder / "my.csv").write_text(f"concept,classes\n{lines}")


def train_network(folder: Path) -> None:
    """Trains the ViT for some steps as a user would, elsewhere, and saves its weights."""
    paths = sorted((folder / "my_faces").rglob("*.png"))
    pixels = torch.from_numpy(np.stack([np.asarray(Image.open(path)) for path in paths])).movedim(3, 1) / 255
    images, labels = (pixels - 0.5) / 0.5, torch.tensor([CLASSES.index(path.parent.name) for path in paths])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("vit_tiny_patch16_224", num_classes=len(CLASSES), **OPTIONS)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=60)
        for _ in range(60):
            rows = torch.randperm(len(images))[:64]
            loss = F.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    save_file(model.state_dict(), folder / "my.safetensors")


def take_few(path: Path) -> None:
    """Lowers numbers in params.yaml that only cost time here."""
    yaml = YAML()
    values = yaml.load(path.read_text())
    for where, changes in FEW.items():
        section = values
        for key in where.split("."):
            section = section[key]
        section |= changes
    with open(path, "w") as file:
        yaml.dump(values, file)


@pytest.fixture(scope="module")
def run(tmp_path_factory, empty_store):
    """The lines that use and validate printed, and the layout after the last stage."""
    root, said = tmp_path_factory.mktemp("own"), {}
    for folder in ("data/raw", "concepts", ".dvc"):
        (root / folder).mkdir(parents=True)
    (root / "data/raw/none").touch()
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        # DVC's part is tested in tests/inputs.
        patch.setattr("emobench.inputs.bring._put_under_dvc", lambda root, place: None)
        write_faces(root, 450)
        train_network(root)
        options = [word for name, value in OPTIONS.items() for word in ("--option", f"{name}={value}")]
        given = [
            "--archive",
            "my_faces",
            "--network",
            "timm/vit_tiny_patch16_224",
            *options,
            "--weights",
            "my.safetensors",
        ]
        given += [
            "--picture",
            "crop=1",
            "--layers",
            "blocks.1.*,head",
            "--classes",
            ",".join(CLASSES),
            "--concepts",
            "my.csv",
        ]
        for words in (["use", "folder", *given, "--annotations", "my_scores.csv"], ["layers"], ["validate", "--json"]):
            result = CliRunner().invoke(cli.main, words)
            assert result.exit_code == 0, result.output
            said[words[0]] = result.stdout
            if words[0] == "use":
                take_few(Path("params.yaml"))
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
    tried = json.loads(said["validate"])
    measured = json.loads((layout.reports / "network.json").read_text())
    assert tried["accuracy"] > 0.3  # Chance is a fifth, with a standard deviation of .03.
    assert measured["val_test"]["accuracy"] == pytest.approx(tried["accuracy"], abs=0.15)
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
