"""The stage dissect on tiny benchmarks: the seed's network on drawn faces, and a user's own on other pictures."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from kinds import FIVE
from tiny_run import tiny_run

from emobench.errors import UserError
from emobench.faces.imageset import load_imageset
from emobench.files import write_json
from emobench.layout import Layout
from emobench.networks.card import NetworkCard
from emobench.params import Params
from emobench.reporting import page as html
from emobench.reporting.figures import dissection as figures
from emobench.reporting.figures import evidence as evidence_figures
from emobench.reporting.results import Results
from emobench.stages import dissect
from emobench.vocabulary.class_names import BASIC


@pytest.fixture(scope="module")
def benchmark_run(tmp_path_factory) -> tuple[Params, Layout]:
    return tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def own_run(tmp_path_factory) -> tuple[Params, Layout]:
    """A user's network on coloured pictures of five classes."""
    return tiny_run(tmp_path_factory.mktemp("own"), FIVE)


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
        assert file["concepts_emotions"].tolist() == list(BASIC)


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
    before = (layout.reports / "held_out.json").read_bytes(), (layout.artifacts / "units.parquet").read_bytes()
    dissect.run(params, layout)
    assert before == (
        (layout.reports / "held_out.json").read_bytes(),
        (layout.artifacts / "units.parquet").read_bytes(),
    )
    held_out = json.loads(before[0])
    assert held_out["evidence"] == "truth"
    assert set(held_out["output_layer"]["concept_sets"]["emotions"]) == set(params.dissect.similarity_fns)
    assert held_out["output_layer"]["concept_sets"]["emotions"]["wpmi"]["units"] == 7
    assert 0 < held_out["trained"]["lin2"]["described"] < 1
    assert set(held_out["untrained"]) == {"lin1", "lin2"}


def test_without_an_untrained_network_nothing_is_compared_with_it(benchmark_run, tmp_path) -> None:
    params, layout = benchmark_run
    other = Layout("demo", tmp_path / "copy")
    shutil.copytree(layout.root, other.root)
    alone = dataclasses.replace(params, record=dataclasses.replace(params.record, untrained=False))
    shutil.rmtree(other.artifacts / "activations_untrained")
    dissect.run(alone, other)
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
    with pytest.raises(UserError, match="lacks the concept set 'emotions' as it is"):
        dissect.run(params, other)
    path.unlink()
    with pytest.raises(UserError, match="run the stage 'embed' first"):
        dissect.run(params, other)


def test_any_network_is_dissected_with_the_classes_of_its_data(own_run) -> None:
    _, layout = own_run
    units = pd.read_parquet(layout.artifacts / "units.parquet")
    card = NetworkCard.read(layout.models / "network")
    assert {name: len(rows) for name, rows in units.groupby("layer").unit.unique().items()} == {
        layer.name: layer.units for layer in card.layers
    }
    emotions = units[units.concept_set == "emotions"]
    assert set(emotions.description) <= set(FIVE.classes)
    with np.load(layout.artifacts / "profiles.npz", allow_pickle=False) as file:
        assert file["class_activation"].shape == (sum(layer.units for layer in card.layers), 5)
        assert file["concepts_emotions"].tolist() == list(FIVE.classes)
    held_out = json.loads((layout.reports / "held_out.json").read_text())
    assert held_out["output_layer"]["layer"] == "say"
    assert held_out["output_layer"]["concept_sets"]["emotions"]["wpmi"]["units"] == 5
    assert set(held_out["trained"]) == {"again", "think"}
    # No class of "closed eyes" but sad is among the five.
    closed = units[units.description == "closed eyes"]
    assert set(closed.chance.round(6)) <= {0.2}
    assert units[units.description == "flared nostrils"].chance.round(6).isin([0.2]).all()


def test_what_is_measured_of_a_class_is_the_label(own_run) -> None:
    """Activations that are 1 for one class: its name is the description, and held-out scores are perfect."""
    params, layout = own_run
    imageset = load_imageset(layout.data)
    other = Layout("demo", layout.root.parent / "known")
    shutil.copytree(layout.root, other.root, dirs_exist_ok=True)
    one_hot = np.eye(5, dtype=np.float32)[imageset.labels]
    known = one_hot + np.linspace(0, 0.001, len(one_hot), dtype=np.float32)[:, None]
    for name in ("activations", "activations_untrained", "activations_noisy"):
        np.save(other.artifacts / name / "say.npy", known)
    dissect.run(params, other)
    units = pd.read_parquet(other.artifacts / "units.parquet")
    last = units[(units.layer == "say") & (units.concept_set == "emotions") & (units.similarity_fn == "cos_similarity")]
    assert last.description.tolist() == list(FIVE.classes)
    assert last.measured_auprc.tolist() == pytest.approx([1] * 5)
    assert last.label_accuracy.tolist() == [1] * 5
    known = json.loads((other.reports / "held_out.json").read_text())["output_layer"]["concept_sets"]
    assert known["emotions"]["cos_similarity"] == {"own_class": 5, "units": 5}


def test_only_the_layers_that_params_chose_are_dissected(own_run) -> None:
    params, layout = own_run
    other = Layout("demo", layout.root.parent / "few")
    shutil.copytree(layout.root, other.root, dirs_exist_ok=True)
    card = dataclasses.replace(NetworkCard.read(layout.models / "network"), recorded=("again",))
    write_json(other.models / "network" / "network.json", card.to_json())
    dissect.run(params, other)
    assert set(pd.read_parquet(other.artifacts / "layers.parquet")["layer"]) == {"again"}
    held_out = json.loads((other.reports / "held_out.json").read_text())
    assert "output_layer" not in held_out
    assert set(held_out["trained"]) == {"again"}


def test_figures_and_tables_of_a_real_dissection(own_run) -> None:
    params, layout = own_run
    write_json(layout.models / "clip" / "clip.json", {"source": "train", "saw_labels": False, "saw_annotations": False})
    effects = pd.DataFrame(columns=["layer", "unit", "images", "delta_accuracy", "delta_nll"])
    effects.to_parquet(layout.artifacts / "unit_effects.parquet")
    results = Results(params, layout)
    results.configs = pd.DataFrame({"arm": ["baseline"], "layer": [None]})
    drawn = [figures.similarity_ridges(results), figures.figure_four(results), figures.figure_five(results)]
    drawn += [figures.interpretable_shares(results), figures.layer_accuracies(results)]
    drawn += evidence_figures.draw(results)
    assert len({picture.svg for picture in drawn}) == 8
    section = html.held_out_section(results)
    assert section.title == "Held against known truth"
    assert [len(table.rows) for table in section.tables] == [5, 10, 4]
