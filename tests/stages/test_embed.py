from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from presets import preset
from small_card import write_small_card
from small_clip import CONFIG, random_clip

from emobench.concepts import embedding
from emobench.concepts.clip import ClipModel, Origin, preprocessing, ready, save_clip
from emobench.concepts.embeddings import load_concept_scores
from emobench.errors import UserError
from emobench.faces.imageset import load_imageset
from emobench.files import file_digest
from emobench.layout import Layout
from emobench.stages import embed
from emobench.vocabulary.card import load_vocabulary, save_vocabulary, vocabulary_of
from emobench.vocabulary.class_names import BASIC

PARAMS = preset()


def write_vocabulary(layout, *names):
    save_vocabulary(layout.data, vocabulary_of(names, BASIC, layout.root), names, layout.root)


def write_inputs(layout, **origin):
    layout.data.mkdir(parents=True)
    np.save(layout.data / "images.npy", np.random.default_rng(0).integers(0, 256, (9, 48, 48), dtype=np.uint8))
    index = pd.DataFrame({"image_id": [str(row) for row in range(9)], "label": 0, "split": "train", "status": "kept"})
    index.to_parquet(layout.data / "index.parquet")
    write_small_card(layout.data)
    write_vocabulary(layout, "emotions", "expressions")
    clip = ready(random_clip(), CONFIG, preprocessing(32, [0.5] * 3, [0.25] * 3), Origin(name="small", **origin), "cpu")
    (layout.models / "clip").mkdir(parents=True)
    save_clip(layout.models / "clip", clip)
    return clip


def test_embeddings_say_whose_they_are_and_dissect_reads_them(tmp_path):
    layout = Layout("demo", tmp_path)
    clip = write_inputs(layout, source="checkpoint")
    embed.run(PARAMS, layout)
    digest, vocabulary = load_imageset(layout.data).digest(), load_vocabulary(layout.data)
    with np.load(layout.artifacts / "concept_embeddings.npz", allow_pickle=False) as file:
        assert str(file["images_digest"]) == digest
        assert str(file["clip_digest"]) == file_digest(layout.models / "clip" / "open_clip_model.safetensors")
    vectors, (emotions, expressions) = load_concept_scores(layout.artifacts, digest, vocabulary)
    assert (len(vectors), expressions.scores.shape) == (9, (9, 25))
    vector = clip.embed_images(load_imageset(layout.data).images[3:4])[0]
    assert float(emotions.scores[3, 1]) == pytest.approx(float(vector @ clip.embed_texts(["disgust"])[0]), abs=1e-5)
    with pytest.raises(UserError, match="another image set"):
        load_concept_scores(layout.artifacts, "0" * 64, vocabulary)


def test_a_set_the_clip_was_not_taught_is_refused(tmp_path):
    layout = Layout("demo", tmp_path)
    write_inputs(layout, source="train", concepts=["happy", "sad", "smile"])
    with pytest.raises(UserError, match="expressions: .* taught only 1 .*furrowed brows"):
        embed.run(PARAMS, layout)
    assert not layout.artifacts.exists()
    write_vocabulary(layout, "emotions")
    embed.run(PARAMS, layout)
    with np.load(layout.artifacts / "concept_embeddings.npz", allow_pickle=False) as file:
        assert file["emotions_names"].tolist() == ["happy", "sad"]


def test_a_clip_trained_on_other_images_is_refused(tmp_path):
    layout = Layout("demo", tmp_path)
    write_inputs(layout, source="train", concepts=["happy", "sad"], images_digest="0" * 64)
    with pytest.raises(UserError, match="trained on another image set"):
        embed.run(PARAMS, layout)


def test_own_concepts_bring_their_classes_and_changed_ones_are_noticed(tmp_path):
    layout = Layout("demo", tmp_path)
    write_inputs(layout, source="checkpoint")
    (tmp_path / "concepts").mkdir()
    mine = tmp_path / "concepts" / "mine.csv"
    mine.write_text("concept,classes\n<b>hat</b>,\ngrübchen,happy|surprise\n")
    write_vocabulary(layout, "emotions", "concepts/mine.csv")
    mine.unlink()
    embed.run(PARAMS, layout)
    digest = load_imageset(layout.data).digest()
    _, (_, own) = load_concept_scores(layout.artifacts, digest, load_vocabulary(layout.data))
    assert own.concepts == ["<b>hat</b>", "grübchen"]
    assert own.membership.int().tolist() == [[0] * 7, [int(name in ("happy", "surprise")) for name in BASIC]]
    mine.write_text("concept,classes\ncap,\ngrübchen,happy\n")
    write_vocabulary(layout, "emotions", "concepts/mine.csv")
    with pytest.raises(UserError, match="lacks the concept set 'mine' as it is; run the stage 'embed' again"):
        load_concept_scores(layout.artifacts, digest, load_vocabulary(layout.data))


def test_an_interrupted_embedding_goes_on(tmp_path, monkeypatch):
    layout = Layout("demo", tmp_path)
    write_inputs(layout, source="checkpoint")
    params = replace(PARAMS, clip=replace(PARAMS.clip, batch_size=2))
    embed.run(params, layout)
    expected = (layout.artifacts / "image_embeddings.npy").read_bytes()
    assert not list((layout.partial / "embed").iterdir())
    whole, seen = ClipModel.embed_batch, []

    def stop(self, images):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(len(images))
        return whole(self, images)

    monkeypatch.setattr(embedding, "SAVED", 1)
    monkeypatch.setattr(ClipModel, "embed_batch", stop)
    (layout.artifacts / "image_embeddings.npy").unlink()
    with pytest.raises(KeyboardInterrupt):
        embed.run(params, layout)
    assert not (layout.artifacts / "image_embeddings.npy").exists()
    seen.clear()
    embed.run(params, layout)
    assert seen == [2, 1], "three batches were there"
    assert (layout.artifacts / "image_embeddings.npy").read_bytes() == expected
