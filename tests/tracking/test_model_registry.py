import dataclasses
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kinds import FIVE, OWN, VGG, Kind
from reporting.small_tracked import write_tracked, write_weights

from emobench.errors import UserError
from emobench.networks.sources import load_network, with_weights
from emobench.reporting.results import Results
from emobench.tracking import model_registry
from emobench.tracking.model_registry import mlflow  # not before emobench: it would report its use
from emobench.tracking.tracker import MlflowClient, MlflowException, RunRecord, Tracker
from emobench.weights import read_state

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*")
LONGEST = 5000
"""Characters of a version's description in MLflow's schema: PostgreSQL refuses more."""


def judged(layout, **verdicts: str) -> None:
    """Writes the verdicts on test of some configurations (the chosen one is called chosen), with rising accuracy."""
    path = layout.artifacts / "verdicts.parquet"
    table = pd.read_parquet(path)
    names = {"chosen": table["config_id"].iloc[0], "paper": "similarity_0.0_1.5", "norm": "weight_norm_1.5"}
    for number, (name, verdict) in enumerate(verdicts.items()):
        table.loc[table["config_id"] == names[name], ["verdict", "accuracy"]] = [verdict, 0.7 + number / 100]
    table.to_parquet(path, index=False)


class Benchmark:
    """A benchmark with a store of its own in which the runs of some networks stand."""

    def __init__(self, root, empty_store, kind: Kind = VGG, **verdicts: str) -> None:
        self.root = root
        self.params, self.layout = write_tracked(root, "fer2013" if kind is VGG else "folder", kind=kind)
        judged(self.layout, **verdicts)
        shutil.copy(empty_store, root / "mlflow.db")
        self.uri = f"sqlite:///{root / 'mlflow.db'}"
        tracker = Tracker(self.uri, "small", {"name": "small", "digest": "0123", "source": "fer2013"})
        self.client, self.experiment = tracker.client, tracker.experiment
        keys = [f"{'baseline' if name == 'baseline' else 'edit'}/{name}" for name in self.results.config_ids[:7]]
        records = [RunRecord(key, key.partition("/")[0], {}, {}) for key in keys]
        self.runs = tracker.log(RunRecord("benchmark/small", "benchmark", {}, {}), records, "content")["runs"]

    @property
    def results(self) -> Results:
        return Results(self.params, self.layout)

    def register(self) -> dict[str, str]:
        with tempfile.TemporaryDirectory() as folder:
            entries = model_registry.entries(self.results, Path(folder))
            return model_registry.register(self.client, self.experiment, "small", entries, self.runs)

    def versions(self) -> list[dict]:
        return [dict(one) for one in self.client.search_model_versions("name = 'small'")]


@pytest.fixture
def small(tmp_path, empty_store):
    return Benchmark(tmp_path, empty_store, chosen="improves")


@pytest.fixture
def current(monkeypatch):
    """Makes a store the current one, as loading needs it, and leaves MLflow as it was."""
    before = mlflow.get_tracking_uri()
    # MLflow writes its choice into the environment too, where our own store would be read from.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", before)
    yield mlflow.set_tracking_uri
    mlflow.set_tracking_uri(before)
    mlflow.clear_active_model()


def probabilities(layout, alias: str, pictures) -> np.ndarray:
    """What the network with the weights of an alias should answer."""
    network = load_network(layout.models / "network")
    if alias == "champion":
        network = with_weights(network, read_state(layout.models / "edited.safetensors", "params"))
    with torch.inference_mode():
        return network.model(network.inputs(pictures)).softmax(1).numpy()


@pytest.mark.parametrize("kind", [VGG, FIVE], ids=["the seed's", "a user's"])
def test_the_champion_is_served_from_the_registry(tmp_path, empty_store, current, monkeypatch, kind):
    small = Benchmark(tmp_path, empty_store, kind, chosen="improves")
    assert small.register() == {"baseline": "1", "champion": "2"}
    current(small.uri)
    # A model is loaded anywhere: what it needs lies in it.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    pictures, classes = kind.pictures(300), len(kind.classes)
    for alias in ("champion", "baseline"):
        model = mlflow.pyfunc.load_model(f"models:/small@{alias}")
        answers = model.predict(pictures)
        assert answers.shape == (300, classes)
        assert answers.dtype == np.float32
        assert answers == pytest.approx(probabilities(small.layout, alias, pictures), abs=1e-6)
    assert model.predict(pictures[:0]).shape == (0, classes)
    signature = model.metadata.signature
    assert signature.inputs.inputs[0].shape == (-1, *kind.shape)
    assert signature.inputs.inputs[0].type == np.uint8
    assert signature.outputs.inputs[0].shape == (-1, classes)
    assert np.array_equal(np.array(model.input_example), np.zeros((1, *kind.shape)))
    for wrong in (pictures.astype(np.float64), pictures[:, :20]):
        with pytest.raises(MlflowException, match="schema"):
            model.predict(wrong)


def test_versions_say_what_they_are_and_hold_no_pickle(small):
    small.register()
    results = small.results
    baseline, edited = (small.client.get_model_version_by_alias("small", one) for one in ("baseline", "champion"))
    assert baseline.tags["config_id"] == "baseline"
    assert "layer" not in baseline.tags
    assert edited.tags["config_id"] == results.chosen_id
    assert (edited.tags["layer"], edited.tags["verdict"]) == ("lin2", "improves")
    assert baseline.run_id == small.runs["baseline/baseline"]
    assert edited.run_id == small.runs[f"edit/{results.chosen_id}"]
    assert baseline.description == model_registry.model_card(results, "baseline")
    [output] = small.client.get_run(edited.run_id).outputs.model_outputs
    logged = small.client.get_logged_model(output.model_id)
    assert logged.artifact_location == edited.source
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "small", "version": str(edited.version)}]
    files = [path for path in (small.root / "mlartifacts").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {"", ".py", ".json", ".yaml", ".txt", ".safetensors"}
    wanted = next(path for path in files if path.name == "requirements.txt").read_text().split()
    assert [one.partition("==")[0] for one in wanted] == ["mlflow", "numpy", "safetensors", "torch"]


def test_without_an_improvement_the_baseline_is_the_champion(tmp_path, empty_store):
    small = Benchmark(tmp_path, empty_store, chosen="no evidence", paper="harms")
    assert small.register() == {"baseline": "1", "champion": "1"}
    assert len(small.versions()) == 1


def test_nothing_is_registered_twice_and_what_is_lost_is_made_again(small):
    first = small.register()
    before = small.versions()
    assert small.register() == first
    assert small.versions() == before
    small.client.delete_model_version("small", "2")
    small.client.set_registered_model_alias("small", "baseline", "1")
    assert small.register() == {"baseline": "1", "champion": "3"}
    assert small.client.get_registered_model("small").aliases == {"baseline": 1, "champion": 3}
    small.client.delete_registered_model("small")
    assert small.register() == {"baseline": "1", "champion": "2"}


def test_other_weights_are_another_version_and_aliases_follow(small):
    small.register()
    write_weights(small.layout, seed=1)
    assert small.register() == {"baseline": "3", "champion": "4"}
    judged(small.layout, chosen="no evidence")
    assert small.register() == {"baseline": "3", "champion": "3"}
    assert len(small.versions()) == 4


@pytest.mark.parametrize("call", ["log_model_artifacts", "create_model_version"])
def test_an_interrupted_registration_is_completed_not_doubled(small, monkeypatch, current, call):
    def failing(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, failing)
        with pytest.raises(KeyboardInterrupt):
            small.register()
    assert small.register() == {"baseline": "1", "champion": "2"}
    assert len(small.client.search_logged_models([small.experiment])) == 2
    current(small.uri)
    assert mlflow.pyfunc.load_model("models:/small@baseline").predict(VGG.pictures(1)).shape == (1, 7)


def test_what_is_current_stays_as_it_was(small, tmp_path, current):
    other = f"sqlite:///{tmp_path / 'other.db'}"
    current(other)
    small.register()
    assert mlflow.get_tracking_uri() == other
    assert mlflow.active_run() is None
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({"paper": "improves", "chosen": "improves", "norm": "improves"}, "chosen"),
        ({"chosen": "no evidence", "norm": "improves", "paper": "improves"}, "similarity_0.0_1.5"),
        ({"chosen": "harms", "paper": "improves", "norm": "improves"}, "weight_norm_1.5"),
        ({"chosen": "not judged (no controls)"}, None),
    ],
)
def test_the_chosen_edit_comes_first_then_the_best_that_improves(tmp_path, verdicts, expected):
    params, layout = write_tracked(tmp_path)
    results = Results(params, layout)
    # The fixture's chosen edit may be one of the other two.
    names = {"chosen": results.chosen_id, "paper": "similarity_0.0_1.5", "norm": "weight_norm_1.5"}
    table = pd.read_parquet(layout.artifacts / "verdicts.parquet").iloc[0]
    rows = [
        {**table, "config_id": "chosen" if name == "chosen" else names[name], "images": "test", "verdict": verdict}
        | {"selected_on": "val" if name == "chosen" else "paper", "accuracy": 0.7 + number / 100}
        for number, (name, verdict) in enumerate(verdicts.items())
    ]
    configs = pd.read_parquet(layout.artifacts / "configs.parquet")
    own = configs[configs["config_id"] == results.chosen_id].assign(config_id="chosen")
    pd.concat([configs, own]).to_parquet(layout.artifacts / "configs.parquet", index=False)
    pd.DataFrame(rows).to_parquet(layout.artifacts / "verdicts.parquet", index=False)
    assert model_registry.improving_edit(Results(params, layout)) == expected


def test_an_edit_whose_weights_are_not_kept_is_rebuilt(tmp_path, monkeypatch):
    params, layout = write_tracked(tmp_path)
    results = Results(params, layout)
    other = next(name for name in results.verdicts["config_id"] if name != results.chosen_id)
    table = pd.read_parquet(layout.artifacts / "verdicts.parquet")
    table.loc[table["config_id"] == other, "verdict"] = "improves"
    table.to_parquet(layout.artifacts / "verdicts.parquet", index=False)
    asked = []

    def export(params, layout, config_id, path):
        asked.append(config_id)
        shutil.copy(layout.models / "edited.safetensors", path)

    monkeypatch.setattr("emobench.edits.exporting.export_network", export)
    (tmp_path / "work").mkdir()
    _, edit = model_registry.entries(Results(params, layout), tmp_path / "work")
    assert asked == [other] == [edit.tags["config_id"]]
    assert edit.network == tmp_path / "work" / "edit"


@pytest.mark.parametrize(("name", "stage"), [("network/weights", "network"), ("edited", "edit")])
def test_missing_weights_name_the_stage(tmp_path, name, stage):
    params, layout = write_tracked(tmp_path)
    judged(layout, chosen="improves")
    (layout.models / f"{name}.safetensors").unlink()
    with pytest.raises(UserError, match=f"no .*{name}.safetensors; run the stage '{stage}' first"):
        model_registry.entries(Results(params, layout), tmp_path / "work")


def test_edited_weights_of_another_network_are_refused(tmp_path):
    params, layout = write_tracked(tmp_path)
    judged(layout, chosen="improves")
    (tmp_path / "other").mkdir()
    _, other = write_tracked(tmp_path / "other", "folder", kind=FIVE)
    shutil.copy(other.models / "edited.safetensors", layout.models / "edited.safetensors")
    with pytest.raises(UserError, match=r"edited.safetensors are not weights of .*network: missing keys: bn1a.bias"):
        model_registry.entries(Results(params, layout), tmp_path / "work")


def test_the_card_says_what_was_measured_and_what_it_is_not_for(tmp_path):
    params, layout = write_tracked(tmp_path)
    judged(layout, chosen="improves")
    results = Results(params, layout)
    baseline, edited = (model_registry.model_card(results, name) for name in ("baseline", results.chosen_id))
    for images in results.image_sets:
        base, own = (results.config(name, images)["accuracy"] for name in ("baseline", results.chosen_id))
        number = results.confusion("baseline", images).sum()
        assert f"| {number} | {100 * base:.2f} % |\n" in baseline
        assert f"| {number} | {100 * own:.2f} % | {100 * base:.2f} % |\n" in edited
    recall = results.config("baseline")["recall_happy"]
    assert f"happy {100 * recall:.0f} %" in baseline
    for card in (baseline, edited):
        assert "Nobody in them was asked" in card
        assert "Judging people" in card
        assert len(card) < LONGEST - 500
    assert "improves" in edited
    assert "against the baseline" not in baseline


def test_the_card_of_a_users_own_network_and_faces(tmp_path):
    params, layout = write_tracked(tmp_path, "folder", kind=FIVE)
    card = model_registry.model_card(Results(params, layout), "baseline")
    assert "Pictures uint8 (n, 40, 40, 3) in, probabilities (n, 5) out: angry, happy, sad, surprise, bored." in card
    assert f"{OWN} (width 4), the baseline." in card
    assert "runs own_network.py, which lies in it" in card
    assert "Pictures that the user brought (folder: mine)" in card
    assert "5 classes, RGB pictures of 40 x 40 pixels" in card
    assert "bored" in card.split("Recall on test")[1]
    for word in ("FER2013", "VGG", "vgg", "Goodfellow", "48"):
        assert word not in card


def test_a_users_file_lies_in_the_model_and_its_change_is_another_version(tmp_path, empty_store, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    shutil.copy(OWN.rpartition(":")[0], "mine.py")
    small = Benchmark(tmp_path, empty_store, dataclasses.replace(FIVE, architecture="mine.py:build"))
    assert small.register() == {"baseline": "1", "champion": "1"}
    packed = next((small.root / "mlartifacts").rglob("mine.py"))
    assert packed.read_bytes() == Path("mine.py").read_bytes()
    assert {path.name for path in packed.parent.iterdir()} == {"mine.py", "network.json", "weights.safetensors"}
    assert json.loads((packed.parent / "network.json").read_text())["architecture"] == "mine.py:build"
    Path("mine.py").write_text(Path("mine.py").read_text() + "\n# changed\n")
    assert small.register() == {"baseline": "2", "champion": "2"}
    Path("mine.py").unlink()
    with pytest.raises(UserError, match="no mine.py, which network.architecture names"):
        small.register()


def test_the_card_of_drawn_faces_and_of_a_smoke_run(tmp_path):
    params, layout = write_tracked(tmp_path, "synthetic")
    card = model_registry.model_card(Results(params, layout), "baseline")
    assert "no person is shown" in card
    assert "trained here on the train images (precision: bfloat16)" in card
    assert "web search" not in card
    limited = dataclasses.replace(params, data=dataclasses.replace(params.data, limit=100))
    assert "these numbers mean nothing" in model_registry.model_card(Results(limited, layout), "baseline")
