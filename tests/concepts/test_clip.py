import dataclasses
import json

import numpy as np
import open_clip
import pytest
import torch
from open_clip import pretrained
from PIL import Image
from safetensors.torch import save_file
from small_clip import CONFIG, random_clip

from emobench.concepts.clip import CONFIG as CONFIG_FILE
from emobench.concepts.clip import Origin, load_clip, preprocessing, ready, save_clip, to_inputs
from emobench.concepts.clip_sources import from_checkpoint, from_hub
from emobench.errors import UserError
from emobench.params import load_params

COARSE = np.random.default_rng(0).integers(0, 256, (5, 6, 6), dtype=np.uint8)
IMAGES = np.stack([np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BICUBIC)) for image in COARSE])
PREPROCESS = preprocessing(32, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4])


@pytest.fixture
def clip_params(tmp_path):
    params = load_params("emobench/presets/demo.yaml").clip
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    save_file(random_clip().state_dict(), tmp_path / "weights.safetensors")
    return dataclasses.replace(
        params, source="checkpoint", model=str(tmp_path / "config.json"), weights=str(tmp_path / "weights.safetensors")
    )


def small(**origin):
    return ready(random_clip(), CONFIG, PREPROCESS, Origin("checkpoint", "small", **origin), "cpu")


def test_a_saved_clip_comes_back_the_same_and_open_clip_reads_it_too(tmp_path):
    clip = small(concepts=["smile"], unmeasured=["tearful eyes"], saw_labels=True)
    save_clip(tmp_path, clip)
    loaded = load_clip(tmp_path)
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


def test_only_a_clip_trained_here_leaves_out_what_it_was_not_taught():
    assert Origin("pretrained", "x").candidates(["smile", "odd"]) == (["smile", "odd"], [])
    assert Origin("train", "x", concepts=["frown", "smile"]).candidates(["smile", "odd"]) == (["smile"], ["odd"])


@pytest.mark.parametrize("form", ["safetensors", "bare", "state_dict", "half", "module"])
def test_local_weights_load_from_every_form(clip_params, tmp_path, form):
    state = random_clip(seed=1).state_dict()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    if form == "safetensors":
        save_file(state, path)
    else:
        if form == "half":
            state = {name: value.half() for name, value in state.items()}
        if form == "module":
            state = {f"module.{name}": value for name, value in state.items()}
        torch.save({"state_dict": state, "epoch": 3} if form == "state_dict" else state, path)
    clip = from_checkpoint(dataclasses.replace(clip_params, weights=str(path)), "cpu")
    expected = random_clip(seed=1).half().float() if form == "half" else random_clip(seed=1)
    for name, value in expected.state_dict().items():
        assert torch.equal(clip.model.state_dict()[name], value)
    assert clip.origin.source == "checkpoint"
    assert not clip.origin.saw_labels
    assert clip.preprocess["size"] == 32


def test_wrong_local_weights_are_named(clip_params, tmp_path):
    state = random_clip().state_dict()
    state["ln_final.weight"] = torch.ones(3)
    state["odd"] = state.pop("ln_final.bias")
    save_file(state, tmp_path / "wrong.safetensors")
    params = dataclasses.replace(clip_params, weights=str(tmp_path / "wrong.safetensors"))
    with pytest.raises(
        UserError, match=r"missing keys: ln_final.bias; unexpected keys: odd; .*weight \(3,\), expected"
    ):
        from_checkpoint(params, "cpu")


def test_unusable_files_and_names_are_one_line(clip_params, tmp_path):
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    (tmp_path / "torn.pt").write_bytes(b"torn")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "odd.json").write_text(json.dumps({**CONFIG, "odd": 1}))
    cases = {
        "no weights file": {"weights": str(tmp_path / "absent.pt")},
        "not a weights file": {"weights": str(tmp_path / "torn.safetensors")},
        "expected .safetensors": {"weights": str(tmp_path / "torn.pt")},
        "holds no state dict": {"weights": str(tmp_path / "list.pt")},
        "known: .*ViT-B-16-quickgelu": {"model": "ViT-B-61"},
        "there is no such file": {"model": str(tmp_path / "absent.json")},
        "lacks embed_dim": {"model": str(tmp_path / "bad.json")},
        "not an open_clip model config": {"model": str(tmp_path / "odd.json")},
        "three numbers": {"image_mean": [0.5]},
        "model hub": {"model": "xlm-roberta-base-ViT-B-32"},
    }
    for match, change in cases.items():
        with pytest.raises(UserError, match=match) as caught:
            from_checkpoint(dataclasses.replace(clip_params, **change), "cpu")
        assert "\n" not in str(caught.value)


def test_openai_weights_without_quick_gelu_are_refused(clip_params, tmp_path):
    path = tmp_path / "vit_openai.safetensors"
    save_file(random_clip().state_dict(), path)
    params = dataclasses.replace(clip_params, weights=str(path))
    with pytest.raises(UserError, match="need quick GELU"):
        from_checkpoint(params, "cpu")
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "quick_gelu": True}))
    assert from_checkpoint(params, "cpu").config["quick_gelu"]


@pytest.fixture
def published(clip_params, tmp_path, monkeypatch):
    """A published model whose file is here already: open_clip's own way of naming a local file in its list."""
    weights = tmp_path / "published.pt"
    torch.save(random_clip(seed=2).state_dict(), weights)
    entry = {"file": str(weights), "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "bicubic"}
    fast = {**entry, "quick_gelu": True}
    monkeypatch.setitem(pretrained._PRETRAINED, "small", {"web": entry, "fast": fast})
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "small", CONFIG)
    return dataclasses.replace(clip_params, source="pretrained", model="small", tag="web", allow_hub=True)


def test_a_published_model_brings_its_own_preprocessing(published):
    clip = from_hub(published, "cpu")
    assert (clip.preprocess["mean"], clip.preprocess["std"]) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert clip.origin.name == "small/web"
    assert len(clip.origin.weights_digest) == 64
    for name, value in random_clip(seed=2).state_dict().items():
        assert torch.equal(clip.model.state_dict()[name], value)


def test_a_published_model_needs_permission_a_known_name_and_its_activation(published):
    cases = {
        "allow_hub is false": {"allow_hub": False},
        "unknown params: clip.model 'large'; known: .*ViT-B-16-quickgelu": {"model": "large"},
        "clip.tag of small: 'wed'; known: web, fast": {"tag": "wed"},
        "trained with quick GELU": {"tag": "fast"},
    }
    for match, change in cases.items():
        with pytest.raises(UserError, match=match):
            from_hub(dataclasses.replace(published, **change), "cpu")


def test_without_network_a_published_model_is_one_line(published, monkeypatch):
    def no_network(*args, **kwargs):
        raise ConnectionError("name resolution\nfailed")

    monkeypatch.setattr(open_clip, "download_pretrained", no_network)
    with pytest.raises(UserError, match="can't fetch small/web from the model hub: name resolution failed"):
        from_hub(published, "cpu")


def test_a_folder_not_written_by_the_stage_is_refused(tmp_path):
    with pytest.raises(UserError, match="run the stage 'clip' first"):
        load_clip(tmp_path)
    save_clip(tmp_path, small())
    (tmp_path / CONFIG_FILE).write_text("{}")
    with pytest.raises(UserError, match="not written by the stage 'clip'"):
        load_clip(tmp_path)
