import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_card import write_small_card
from small_clip import CONFIG, random_clip

from emobench.concepts.clip import Origin, preprocessing, ready, save_clip
from emobench.concepts.embeddings import load_concept_scores
from emobench.errors import UserError
from emobench.faces.imageset import load_imageset
from emobench.files import file_digest
from emobench.layout import Layout
from emobench.params import load_params
from emobench.stages import embed

PARAMS = load_params("emobench/presets/demo.yaml")


def write_inputs(layout, **origin):
    layout.data.mkdir(parents=True)
    np.save(layout.data / "images.npy", np.random.default_rng(0).integers(0, 256, (9, 48, 48), dtype=np.uint8))
    index = pd.DataFrame({"image_id": [str(row) for row in range(9)], "label": 0, "split": "train", "status": "kept"})
    index.to_parquet(layout.data / "index.parquet")
    write_small_card(layout.data)
    clip = ready(random_clip(), CONFIG, preprocessing(32, [0.5] * 3, [0.25] * 3), Origin(name="small", **origin), "cpu")
    (layout.models / "clip").mkdir(parents=True)
    save_clip(layout.models / "clip", clip)
    return clip


def test_embeddings_say_whose_they_are_and_dissect_reads_them(tmp_path):
    layout = Layout("demo", tmp_path)
    clip = write_inputs(layout, source="checkpoint")
    embed.run(PARAMS, layout)
    digest = load_imageset(layout.data).digest()
    with np.load(layout.artifacts / "concept_embeddings.npz", allow_pickle=False) as file:
        assert str(file["images_digest"]) == digest
        assert str(file["clip_digest"]) == file_digest(layout.models / "clip" / "open_clip_model.safetensors")
    vectors, (emotions, expressions) = load_concept_scores(layout.artifacts, digest, PARAMS.concept_sets)
    assert (len(vectors), expressions.scores.shape) == (9, (9, 25))
    vector = clip.embed_images(load_imageset(layout.data).images[3:4])[0]
    assert float(emotions.scores[3, 1]) == pytest.approx(float(vector @ clip.embed_texts(["disgust"])[0]), abs=1e-5)
    with pytest.raises(UserError, match="another image set"):
        load_concept_scores(layout.artifacts, "0" * 64, PARAMS.concept_sets)


def test_a_set_the_clip_was_not_taught_is_refused(tmp_path):
    layout = Layout("demo", tmp_path)
    write_inputs(layout, source="train", concepts=["happy", "sad", "smile"])
    with pytest.raises(UserError, match="expressions: .* taught only 1 .*furrowed brows"):
        embed.run(PARAMS, layout)
    assert not layout.artifacts.exists()
    embed.run(dataclasses.replace(PARAMS, concept_sets=["emotions"]), layout)
    with np.load(layout.artifacts / "concept_embeddings.npz", allow_pickle=False) as file:
        assert file["emotions_names"].tolist() == ["happy", "sad"]


def test_a_clip_trained_on_other_images_is_refused(tmp_path):
    layout = Layout("demo", tmp_path)
    write_inputs(layout, source="train", concepts=["happy", "sad"], images_digest="0" * 64)
    with pytest.raises(UserError, match="trained on another image set"):
        embed.run(PARAMS, layout)
