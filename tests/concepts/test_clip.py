import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from small_clip import CONFIG, random_clip

from emobench.concepts import clip as clip_module
from emobench.concepts.clip import CONFIG as CONFIG_FILE
from emobench.concepts.clip import Origin, load_clip, preprocessing, ready, save_clip, to_inputs
from emobench.errors import UserError

COARSE = np.random.default_rng(0).integers(0, 256, (5, 6, 6), dtype=np.uint8)
IMAGES = np.stack([np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BICUBIC)) for image in COARSE])
PREPROCESS = preprocessing(32, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4])


def small(**origin):
    return ready(random_clip(), CONFIG, PREPROCESS, Origin("checkpoint", "small", **origin), "cpu")


def test_a_saved_clip_comes_back_the_same_and_open_clip_reads_it_too(tmp_path):
    clip = small(concepts=["smile"], unmeasured=["tearful eyes"], saw_labels=True)
    save_clip(tmp_path, clip)
    loaded = load_clip(str(tmp_path))
    assert loaded.origin == clip.origin
    assert dict(loaded.preprocess) == dict(clip.preprocess)
    np.testing.assert_array_equal(loaded.embed_images(IMAGES), clip.embed_images(IMAGES))
    theirs = open_clip.create_model(f"local-dir:{tmp_path}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path}")(["smile"])
    with torch.inference_mode():
        expected = theirs.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(loaded.embed_texts(["smile"]), expected, atol=1e-6)


def test_image_embeddings_are_those_of_open_clips_own_transform_one_by_one():
    clip = small()
    transform = open_clip.image_transform(
        32, is_train=False, mean=PREPROCESS["mean"], std=PREPROCESS["std"], interpolation="bicubic"
    )
    vectors = clip.embed_images(IMAGES, batch_size=2)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for image, vector in zip(IMAGES, vectors, strict=True):
        inputs = transform(Image.fromarray(image))[None]
        # PIL rounds to whole grey values after each of its two passes.
        ours = to_inputs(torch.from_numpy(image[None, None] / np.float32(255)), PREPROCESS)
        assert (ours - inputs).abs().max() < 2.5 / 255 / 0.2
        with torch.inference_mode():
            expected = clip.model.encode_image(inputs, normalize=True)[0].numpy()
        assert vector @ expected > 0.999


def test_text_embeddings_are_the_renormalised_mean_over_prompts():
    clip = small()
    prompts, texts = ["{}", "a face with {}"], ["smile", "closed eyes", "smile"]
    vectors = clip.embed_texts(texts, prompts)
    for text, vector in zip(texts, vectors, strict=True):
        mean = np.zeros(16)
        for prompt in prompts:
            with torch.inference_mode():
                single = clip.model.encode_text(clip.tokenizer([prompt.format(text)]))[0].double().numpy()
            mean += single / np.linalg.norm(single) / len(prompts)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_pictures_in_colour_of_the_inputs_size_are_embedded_as_open_clip_does():
    clip, images = small(), np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    transform = open_clip.image_transform(32, is_train=False, mean=PREPROCESS["mean"], std=PREPROCESS["std"])
    inputs = torch.stack([transform(Image.fromarray(image)) for image in images])
    with torch.inference_mode():
        expected = clip.model.encode_image(inputs, normalize=True).numpy()
    np.testing.assert_allclose(clip.embed_images(images, 2), expected, atol=1e-5)
    rows = np.array([4, 0, 3])
    np.testing.assert_allclose(clip.embed_images(images, 2, rows), expected[rows], atol=1e-5)


@pytest.mark.parametrize("side", [20, 48, 100])
def test_a_grey_picture_is_its_colour_picture_of_three_equal_channels(side):
    grey = np.random.default_rng(side).integers(0, 256, (3, side, side), dtype=np.uint8)
    clip = small()
    colour = clip.embed_images(np.repeat(grey[..., None], 3, axis=3))
    np.testing.assert_allclose(colour, clip.embed_images(grey), atol=1e-5)


def test_many_texts_are_embedded_in_parts(monkeypatch):
    clip, texts = small(), [f"smile {k}" for k in range(7)]
    whole = clip.embed_texts(texts)
    monkeypatch.setattr(clip_module, "TEXTS", 3)
    np.testing.assert_allclose(clip.embed_texts(texts), whole, atol=1e-6)
    assert clip.embed_texts([]).shape == (0, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((32, [0.5], [0.2] * 3), "expected three numbers each"),
        ((32, [0.5] * 3, [0.2, 0.0, 0.2]), "std above 0"),
        (([32, 48], [0.5] * 3, [0.2] * 3), r"size \[32, 48\] .* expected a square size"),
        ((32, [0.5] * 3, [0.2] * 3, "random"), "by random interpolation; .* bicubic, bilinear"),
    ],
)
def test_preprocessing_of_another_form_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        preprocessing(*arguments)


def test_only_a_clip_trained_here_leaves_out_what_it_was_not_taught():
    assert Origin("pretrained", "x").candidates(["smile", "odd"]) == (["smile", "odd"], [])
    assert Origin("train", "x", concepts=["frown", "smile"]).candidates(["smile", "odd"]) == (["smile"], ["odd"])


def test_a_folder_not_written_by_the_stage_is_refused(tmp_path):
    with pytest.raises(UserError, match="run the stage 'clip' first"):
        load_clip(tmp_path)
    save_clip(tmp_path, small())
    (tmp_path / CONFIG_FILE).write_text("{}")
    with pytest.raises(UserError, match="not written by the stage 'clip'"):
        load_clip(tmp_path)
