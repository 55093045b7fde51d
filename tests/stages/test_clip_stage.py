import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from clip_forms import write_hub_folder
from presets import preset
from small_card import write_small_set
from small_clip import CONFIG, random_clip

from emobench import device
from emobench.concepts.clip import load_clip
from emobench.concepts.clip_training import ClipTrainer
from emobench.concepts.ranking import MIN_POSITIVES
from emobench.errors import UserError
from emobench.layout import Layout
from emobench.settings.concepts import GivenClip, PublishedClip
from emobench.stages import clip as clip_stage
from emobench.stages import embed as embed_stage
from emobench.vocabulary import concept_set
from emobench.vocabulary.card import save_vocabulary, vocabulary_of
from emobench.vocabulary.class_names import BASIC

EXPRESSIONS = concept_set("expressions")
TINY = {
    "embed_dim": 16, "image_size": 32, "image_width": 8, "text_width": 32, "text_layers": 1, "epochs": 1,
    "batch_size": 32, "max_lr": 0.01, "captions": 4,
}  # fmt: skip


@pytest.fixture
def layout(tmp_path):
    layout = Layout("demo", tmp_path)
    rng, count = np.random.default_rng(0), 420
    images = rng.integers(0, 256, (count, 48, 48), dtype=np.uint8)
    counts = {"train": 100, "val": 300, "test": 20}
    ids = write_small_set(layout.data, images, rng.integers(0, 7, count), counts)
    write_vocabulary(layout, "emotions", "expressions")
    scores = {name: rng.random(count) for name in EXPRESSIONS}
    scores["tearful eyes"] = np.nan
    pd.DataFrame({"image_id": ids, **scores}).to_parquet(layout.data / "annotations.parquet")
    return layout


def write_vocabulary(layout, *names):
    save_vocabulary(layout.data, vocabulary_of(names, BASIC, layout.root), names, layout.root)


def params_with(clip=None, **training):
    params = preset()
    training = dataclasses.replace(params.clip.training, **(TINY | training))
    return dataclasses.replace(params, clip=clip or dataclasses.replace(params.clip, training=training))


def test_a_trained_clip_is_ranked_on_val_and_embeds_what_it_was_taught(layout, tmp_path):
    (tmp_path / "concepts").mkdir()
    (tmp_path / "concepts" / "mine.txt").write_text("smile\nfrown\nwearing a hat\n")
    write_vocabulary(layout, "emotions", "expressions", "concepts/mine.txt")
    params = params_with()
    clip_stage.run(params, layout)
    metrics = json.loads((layout.reports / "clip.json").read_text())
    table = pd.read_csv(layout.reports / "clip_concepts.csv", keep_default_na=False)
    scores = pd.read_parquet(layout.data / "annotations.parquet")[100:400]
    for row in table.itertuples():
        positives = int((scores[row.concept] >= 0.8).sum())
        assert row.positives == positives
        assert (row.auroc == "") == (positives < MIN_POSITIVES or row.concept == "tearful eyes")
    measured = pd.to_numeric(table["auroc"]).dropna()
    assert metrics["mean_auroc"] == pytest.approx(measured.mean(), abs=1e-5)
    labels = pd.read_parquet(layout.data / "index.parquet")["label"][100:400]
    judged = int((labels.value_counts() >= MIN_POSITIVES).sum())
    assert (metrics["limited"], metrics["concepts"], metrics["emotions"]) == (0, len(measured), judged)
    assert table.set_index("concept")["note"]["tearful eyes"] == "not measured"
    embed_stage.run(params, layout)
    with np.load(layout.artifacts / "concept_embeddings.npz", allow_pickle=False) as file:
        assert tuple(file["emotions_names"]) == BASIC
        assert file["expressions_names"].tolist() == [name for name in EXPRESSIONS if name != "tearful eyes"]
        assert file["mine_names"].tolist() == ["smile", "frown"]
        assert file["mine"].shape == (2, 16)
        np.testing.assert_allclose(np.linalg.norm(file["expressions"], axis=1), 1, atol=1e-5)


def test_the_clip_stage_writes_the_same_twice(layout, tmp_path):
    clip_stage.run(params_with(), layout)
    names = [layout.models / "clip" / "clip.json", layout.reports / "clip.json", layout.reports / "clip_concepts.csv"]
    names.append(layout.models / "clip" / "open_clip_model.safetensors")
    first = [path.read_bytes() for path in names]
    assert not list((layout.partial / "clip").iterdir())
    clip_stage.run(params_with(), layout)
    assert [path.read_bytes() for path in names] == first


def test_a_training_begun_in_another_precision_is_not_resumed(layout, monkeypatch):
    finish, can = ClipTrainer._finish_epoch, {"bfloat16": True}
    monkeypatch.setattr(device, "computes_bfloat16", lambda on: can["bfloat16"])

    def stop_in_second_epoch(self, epoch, loss):
        if epoch == 1:
            raise KeyboardInterrupt
        finish(self, epoch, loss)

    params, begun = params_with(epochs=2), []
    for can["bfloat16"] in (True, False):
        monkeypatch.setattr(ClipTrainer, "_finish_epoch", stop_in_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            clip_stage.run(params, layout)
        begun.append({path.name for path in (layout.partial / "clip").iterdir()})
    assert (len(begun[0]), len(begun[1])) == (1, 2)
    monkeypatch.setattr(ClipTrainer, "_finish_epoch", finish)
    clip_stage.run(params, layout)
    assert json.loads((layout.reports / "clip.json").read_text())["precision"] == "float32"
    assert {path.name for path in (layout.partial / "clip").iterdir()} == begun[0]


def test_a_local_clip_keeps_all_concepts_and_is_ranked_too(layout, tmp_path):
    write_hub_folder(tmp_path / "small", random_clip(), CONFIG)
    params = params_with(GivenClip("small", ["{}"], 64, "checkpoint", "", [], []))
    clip_stage.run(params, layout)
    clip = load_clip(layout.models / "clip")
    assert (clip.origin.source, clip.origin.saw_labels, clip.origin.unmeasured) == ("checkpoint", False, [])
    metrics = json.loads((layout.reports / "clip.json").read_text())
    assert 0.4 < metrics["mean_auroc"] < 0.6
    assert metrics["precision"] == "float32", "a given model was not trained here"
    embed_stage.run(params, layout)
    with np.load(layout.artifacts / "concept_embeddings.npz", allow_pickle=False) as file:
        assert tuple(file["expressions_names"]) == EXPRESSIONS
    vectors = np.load(layout.artifacts / "image_embeddings.npy", allow_pickle=False)
    images = np.load(layout.data / "images.npy")
    np.testing.assert_allclose(vectors, clip.embed_images(images, 64), atol=1e-6)
    table = pd.read_csv(layout.reports / "concept_classes.csv", keep_default_na=False)
    assert table["concept"].tolist() == [*BASIC, *EXPRESSIONS]
    assert table["agrees"].isin([0, 1]).all()


def test_a_wrong_source_leaves_the_earlier_model_as_it_was(layout):
    folder = layout.models / "clip"
    folder.mkdir(parents=True)
    (folder / "old").write_text("old")
    with pytest.raises(UserError, match="allow_hub is false"):
        clip_stage.run(
            params_with(PublishedClip("none", ["{}"], 64, "pretrained", "ViT-B-16", "openai", False)), layout
        )
    assert (folder / "old").read_text() == "old"


def test_five_classes_in_colour_and_no_annotation_work(tmp_path):
    layout, classes = Layout("mine", tmp_path), ("angry", "happy", "sad", "bored", "proud")
    rng, counts = np.random.default_rng(0), {"train": 80, "val": 400, "test": 20}
    images = rng.integers(0, 256, (500, 40, 40, 3), dtype=np.uint8)
    ids = write_small_set(layout.data, images, rng.integers(0, 5, 500), counts, classes)
    save_vocabulary(layout.data, vocabulary_of(["emotions"], classes), ["emotions"])
    pd.DataFrame({"image_id": ids}).to_parquet(layout.data / "annotations.parquet")
    clip_stage.run(params_with(), layout)
    embed_stage.run(params_with(), layout)
    assert load_clip(layout.models / "clip").origin.concepts == list(classes)
    metrics = json.loads((layout.reports / "clip.json").read_text())
    assert (metrics["concepts"], metrics["emotions"], metrics["mean_auroc"]) == (0, 5, None)
    assert pd.read_csv(layout.reports / "concept_classes.csv")["concept"].tolist() == list(classes)
    with np.load(layout.artifacts / "concept_embeddings.npz", allow_pickle=False) as file:
        assert file["emotions_names"].tolist() == list(classes)
