"""From a user's own network and coloured pictures to pages and a served model, every number really measured."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from kinds import FIVE
from reporting.small_results import write_concept_classes
from tiny_run import tiny_params, write_embeddings, write_noise

from emobench.layout import Layout
from emobench.reporting.results import Results
from emobench.vocabulary.card import save_vocabulary, vocabulary_of

network = pytest.importorskip("emobench.stages.network")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*"),
]


def few(params):
    """Few edits and controls, one epoch."""
    edit = params.edit
    search = dataclasses.replace(edit.search, joint=[], steps=5)
    controls = dataclasses.replace(edit.controls, draws=20, least=20)
    edit = dataclasses.replace(edit, taus=[0.0, 0.5], factors=[1.0, 1.5], controls=controls, search=search, jobs=1)
    asked = dataclasses.replace(params.network, train=dataclasses.replace(params.network.train, epochs=1))
    compared = dataclasses.replace(params.compare, bootstrap_draws=200)
    return dataclasses.replace(params, edit=edit, network=asked, compare=compared)


@pytest.fixture(scope="module")
def run(tmp_path_factory, empty_store):
    from emobench.stages import compare, dissect, edit, record, report, track

    root = tmp_path_factory.mktemp("own")
    (root / ".dvc").mkdir()
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    params, layout = few(tiny_params(FIVE)), Layout("demo", root)
    write_noise(params, layout)
    save_vocabulary(layout.data, vocabulary_of(params.concept_sets, FIVE.classes), params.concept_sets)
    for folder in (layout.models / "clip", layout.reports):
        folder.mkdir(parents=True)
    clip = {"source": "train", "saw_labels": True, "saw_annotations": False}
    (layout.models / "clip" / "clip.json").write_text(json.dumps(clip))
    (layout.reports / "audit.json").write_text('{"images": 270}')
    (layout.reports / "clip.json").write_text('{"mean_auroc": 0.9, "precision": "float32"}')
    measured = pd.read_parquet(layout.data / "annotations.parquet").columns.drop("image_id")
    rows = "".join(f"{name},1,2,0.9,\n" for name in measured)
    (layout.reports / "clip_concepts.csv").write_text(f"concept,positives,negatives,auroc,note\n{rows}")
    write_concept_classes(layout, np.random.default_rng(0))
    network.run(params, layout)
    record.run(params, layout)
    write_embeddings(layout)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for stage in (dissect, edit, compare, report, track):
            stage.run(params, layout)
    return params, layout


def test_pages_show_what_was_measured_of_five_classes(run) -> None:
    params, layout = run
    results = Results(params, layout)
    page = (layout.reports / "index.html").read_text()
    measured = json.loads((layout.reports / "network.json").read_text())["test"]["accuracy"]
    assert results.config(results.baseline_id)["accuracy"] == pytest.approx(measured)
    assert f"the network gets {measured:.2%} of the 60 test images right" in page
    assert "of 5 classes: angry, happy, sad, surprise, bored." in page
    for word in ("FER2013", "69.42%", "VGG", "lin2"):
        assert word not in page
    classes = pd.read_csv(layout.reports / "confusion.csv")["actual"].unique()
    assert set(classes) == set(FIVE.classes)
    assert results.confusion(results.baseline_id).shape == (5, 5)
    assert set(pd.read_csv(layout.reports / "layers.csv")["layer"]) == set(FIVE.layers)


def test_the_registered_network_answers_as_the_benchmark_measured(run, monkeypatch, tmp_path) -> None:
    from emobench.tracking.model_registry import mlflow

    params, layout = run
    results = Results(params, layout)
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", before)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{layout.root / 'mlflow.db'}")
    try:
        model = mlflow.pyfunc.load_model("models:/demo@baseline")
    finally:
        mlflow.set_tracking_uri(before)
    answers = model.predict(np.ascontiguousarray(results.imageset.images[results.image_rows]))
    told = results.predictions[results.config_ids.index(results.baseline_id)]
    assert (answers.argmax(1) == told).mean() > 0.99
    assert answers.sum(1) == pytest.approx(1, abs=1e-5)
