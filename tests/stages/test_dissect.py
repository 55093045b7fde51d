"""From drawn faces to descriptions: the stages prepare, annotate, baseline, record and dissect on a tiny benchmark."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emobench.errors import UserError
from emobench.faces.imageset import load_imageset
from emobench.files import file_digest
from emobench.layout import Layout
from emobench.networks.loading import load_network
from emobench.params import LAYERS, Params, load_params
from emobench.stages import annotate, baseline, dissect, prepare, record
from emobench.vocabulary import CLASSES, concept_set

DEMO = load_params(Path(__file__).parents[2] / "emobench" / "presets" / "demo.yaml")


def tiny_params() -> Params:
    return dataclasses.replace(
        DEMO,
        data=dataclasses.replace(
            DEMO.data, synthetic=dataclasses.replace(DEMO.data.synthetic, train=150, val=60, test=60)
        ),
        baseline=dataclasses.replace(DEMO.baseline, width=1 / 32, epochs=1, batch_size=50),
        dissect=dataclasses.replace(
            DEMO.dissect, soft_wpmi=dataclasses.replace(DEMO.dissect.soft_wpmi, top_k=20), null_draws=200, resamples=2
        ),
    )


def write_embeddings(layout: Layout) -> None:
    """Embeddings that know the truth: image i's coordinates are its concept values and its class."""
    imageset = load_imageset(layout.data)
    truth = pd.read_parquet(layout.data / "truth.parquet").drop(columns="image_id").to_numpy(np.float32)
    vectors = np.concatenate([truth, np.eye(7, dtype=np.float32)[imageset.labels]], axis=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    images = layout.artifacts / "image_embeddings.npy"
    np.save(images, vectors)
    axes = np.eye(32, dtype=np.float32)
    np.savez(
        layout.artifacts / "concept_embeddings.npz",
        expressions=axes[:25], expressions_names=np.array(concept_set("expressions")),
        emotions=axes[25:], emotions_names=np.array(CLASSES),
        images_digest=imageset.digest(), clip_digest="none", image_embeddings_digest=file_digest(images),
    )  # fmt: skip


@pytest.fixture(scope="module")
def benchmark_run(tmp_path_factory) -> tuple[Params, Layout]:
    params, layout = tiny_params(), Layout("demo", tmp_path_factory.mktemp("tiny"))
    for stage in (prepare, annotate, baseline, record):
        stage.run(params, layout)
    write_embeddings(layout)
    dissect.run(params, layout)
    return params, layout


def test_baseline_measures_every_image_set(benchmark_run) -> None:
    params, layout = benchmark_run
    measured = json.loads((layout.reports / "baseline.json").read_text())
    assert [measured[name]["images"] for name in ("val", "test", "val_test")] == [60, 60, 120]
    confusion = pd.read_csv(layout.reports / "confusion.csv")
    assert (confusion.actual == confusion.predicted).mean() == pytest.approx(measured["val_test"]["accuracy"])
    assert len(pd.read_csv(layout.reports / "history.csv")) == params.baseline.epochs
    assert not layout.partial.joinpath("baseline").exists() or not list(layout.partial.joinpath("baseline").iterdir())


def test_baseline_takes_given_weights(benchmark_run, tmp_path) -> None:
    params, layout = benchmark_run
    other = Layout("demo", tmp_path)
    shutil.copytree(layout.data, other.data)
    given = dataclasses.replace(params.baseline, source="weights", weights=str(layout.models / "baseline.safetensors"))
    baseline.run(dataclasses.replace(params, baseline=given), other)
    given, trained = (json.loads((one.reports / "baseline.json").read_text()) for one in (other, layout))
    assert given == trained | {"precision": "float32"}
    assert len(pd.read_csv(other.reports / "history.csv")) == 0


def test_every_layer_is_recorded_with_its_controls(benchmark_run) -> None:
    params, layout = benchmark_run
    model = load_network(layout.models / "baseline.safetensors").model
    for layer in LAYERS:
        trained, untrained, disturbed = (
            np.load(layout.artifacts / f"activations{name}" / f"{layer}.npy") for name in ("", "_untrained", "_noisy")
        )
        shape = (270, len(model.get_submodule(layer).weight))
        assert trained.shape == untrained.shape == shape
        trained, untrained = trained[:150], untrained[:150]
        assert disturbed.shape == trained.shape
        assert trained.dtype == np.float32
        assert not np.array_equal(trained, untrained)
        assert 0 < np.abs(trained - disturbed).mean() < np.abs(trained - untrained).mean()
    assert json.loads((layout.artifacts / "activations_noisy" / "source.json").read_text())["noise"] == "0.02"
    assert params.record.noise == 0.02


def test_dissection_describes_every_unit_with_every_set(benchmark_run) -> None:
    params, layout = benchmark_run
    units = pd.read_parquet(layout.artifacts / "units.parquet")
    layers = pd.read_parquet(layout.artifacts / "layers.parquet")
    assert len(layers) == 11 * 2 * 5
    assert not units.duplicated(["layer", "unit", "concept_set", "similarity_fn"]).any()
    key = ["layer", "concept_set", "similarity_fn"]
    counts = units.groupby(key).size().to_dict()
    assert all(counts[row.layer, row.concept_set, row.similarity_fn] == row.num_units for row in layers.itertuples())
    for column, chosen in (
        ("num_interp", units.similarity > params.dissect.tau),
        ("num_significant", units.q_value < params.dissect.fdr),
    ):
        shares, wanted = units[chosen].groupby(key).size(), layers.set_index(key)[column]
        assert (shares.reindex(wanted.index, fill_value=0) == wanted).all()
    probe = set(load_imageset(layout.data).probe_rows("train_unique"))
    assert all(len(shown) == 5 and set(shown) <= probe for shown in units.top_images)
    assert {"untrained_num_interp", "untrained_overall_acc", "lift"} <= set(layers.columns)


def test_units_carry_null_evidence_stability_and_coherence(benchmark_run) -> None:
    _, layout = benchmark_run
    units = pd.read_parquet(layout.artifacts / "units.parquet")
    alive = units[~units.dead]
    assert units.null_p.between(0, 1).all()
    assert (units.q_value >= units.null_p - 1e-12).all()
    for source in ("clip", "measured"):
        for metric in ("f1", "iou", "auprc"):
            assert alive[f"{source}_{metric}"].dropna().between(0, 1).all()
    # Embeddings that are the truth: CLIP's evidence and the measured one agree.
    assert alive.clip_pearson.corr(alive.measured_pearson) > 0.5
    assert units.stability.isin([0, 0.5, 1]).all()
    assert units.stability_noise.isin([0, 1]).all()
    assert units.agreement.isin([0, 0.25, 0.5, 0.75, 1]).all()
    assert units.clarity.between(-1, 1).all()
    assert units.polysemanticity.between(0, 2).all()
    first = units[(units.layer == "lin3") & (units.concept_set == "expressions")]
    assert first.groupby("unit").clarity.nunique().eq(1).all()
    layers = pd.read_parquet(layout.artifacts / "layers.parquet").set_index(["layer", "concept_set", "similarity_fn"])
    means = units.groupby(["layer", "concept_set", "similarity_fn"])[["stability", "measured_auprc", "clarity"]].mean()
    named = {"measured_auprc_described": "measured_auprc", "stability": "stability", "clarity": "clarity"}
    for column, source in named.items():
        np.testing.assert_allclose(layers[column], means[source].reindex(layers.index), atol=1e-5)


def test_evidence_nulls_and_profiles_are_complete(benchmark_run) -> None:
    _, layout = benchmark_run
    evidence = pd.read_parquet(layout.artifacts / "evidence.parquet")
    assert len(evidence) == 2 * 11 * 2 * 5 * 2 * 5
    known = evidence.dropna(subset=["described"])
    assert (known.best >= known[["described", "random", "constant"]].max(axis=1) - 1e-9).all()
    nulls = pd.read_parquet(layout.artifacts / "nulls.parquet")
    assert len(nulls) == 2 * 11 * 2 * 5
    assert all(len(row.concepts) == len(row.null_shares) == len(row.unit_shares) for row in nulls.itertuples())
    with np.load(layout.artifacts / "profiles.npz", allow_pickle=False) as file:
        count = len(pd.read_parquet(layout.artifacts / "units.parquet")) // 10
        assert file["class_activation"].shape == (count, 7)
        assert file["similarity_expressions"].shape == (count, 25)
        assert file["concepts_emotions"].tolist() == list(CLASSES)


def test_controls_are_recorded_on_the_images_that_are_read_of_them(benchmark_run, tmp_path) -> None:
    params, layout = benchmark_run
    imageset = load_imageset(layout.data)
    for name, count in (("activations", 270), ("activations_untrained", 270), ("activations_noisy", 150)):
        assert len(np.load(layout.artifacts / name / "lin2.npy")) == count
    probe = np.load(layout.artifacts / "activations_noisy" / "rows.npy")
    assert np.array_equal(probe, imageset.probe_rows("train_unique"))
    other = Layout("demo", tmp_path / "copy")
    shutil.copytree(layout.root, other.root)
    val = dataclasses.replace(params, dissect=dataclasses.replace(params.dissect, probe="val"))
    with pytest.raises(UserError, match=r"activations_noisy lacks 60 of the 60 images wanted"):
        dissect.run(val, other)


def test_a_probe_smaller_than_top_k_is_one_clear_line(benchmark_run) -> None:
    params, layout = benchmark_run
    large = dataclasses.replace(params.dissect, wpmi=dataclasses.replace(params.dissect.wpmi, top_k=1000))
    with pytest.raises(UserError, match=r"params: dissect.wpmi.top_k is 1000; the probe has \d+ images"):
        dissect.run(dataclasses.replace(params, dissect=large), layout)


def test_activations_that_are_not_finite_are_named(benchmark_run, tmp_path) -> None:
    params, layout = benchmark_run
    other = Layout("demo", tmp_path / "copy")
    shutil.copytree(layout.root, other.root)
    path = other.artifacts / "activations" / "lin1.npy"
    stored = np.load(path)
    stored[3, 2] = np.inf
    np.save(path, stored)
    with pytest.raises(UserError, match=r"lin1.npy has NaN or infinite activations"):
        dissect.run(params, other)


def test_evidence_is_the_same_when_computed_again(benchmark_run) -> None:
    params, layout = benchmark_run
    before = (layout.reports / "proof.json").read_bytes(), (layout.artifacts / "units.parquet").read_bytes()
    dissect.run(params, layout)
    assert before == ((layout.reports / "proof.json").read_bytes(), (layout.artifacts / "units.parquet").read_bytes())
    proof = json.loads(before[0])
    assert proof["evidence"] == "truth"
    assert set(proof["lin3"]["emotions"]) == set(params.dissect.similarity_fns)
    assert proof["lin3"]["emotions"]["wpmi"]["units"] == 7
    assert 0 < proof["trained"]["lin2"]["described"] < 1
    assert set(proof["untrained"]) == {"lin1", "lin2"}


def test_without_an_untrained_twin_nothing_is_compared_with_it(benchmark_run, tmp_path) -> None:
    params, layout = benchmark_run
    other = Layout("demo", tmp_path / "copy")
    shutil.copytree(layout.root, other.root)
    alone = dataclasses.replace(params, record=dataclasses.replace(params.record, untrained=False))
    record.run(alone, other)
    dissect.run(alone, other)
    assert [path.name for path in (other.artifacts / "activations_untrained").iterdir()] == ["source.json"]
    assert not any(name.startswith("untrained") for name in pd.read_parquet(other.artifacts / "layers.parquet").columns)
    assert len(pd.read_parquet(other.artifacts / "units_untrained.parquet")) == 0


def test_embeddings_of_other_images_or_models_are_refused(benchmark_run, tmp_path) -> None:
    params, layout = benchmark_run
    other = Layout("demo", tmp_path / "copy")
    shutil.copytree(layout.root, other.root)
    path = other.artifacts / "concept_embeddings.npz"
    stored = dict(np.load(path))
    np.savez(path, **{**stored, "images_digest": "of others"})
    with pytest.raises(UserError, match=r"concept_embeddings.npz belongs to another image set"):
        dissect.run(params, other)
    np.savez(path, **stored)
    images = other.artifacts / "image_embeddings.npy"
    vectors = np.load(images)
    np.save(images, vectors[::-1])
    with pytest.raises(UserError, match=r"image_embeddings.npy and .*concept_embeddings.npz are not of one run"):
        dissect.run(params, other)
    np.save(images, vectors)
    np.savez(path, **{name: value for name, value in stored.items() if not name.startswith("emotions")})
    with pytest.raises(UserError, match="has no concept set 'emotions'"):
        dissect.run(params, other)
    path.unlink()
    with pytest.raises(UserError, match="run the stage 'embed' first"):
        dissect.run(params, other)
