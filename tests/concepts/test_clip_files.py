import json
import warnings

import numpy as np
import open_clip
import pytest
import torch
from clip_forms import (
    OPENAI_TINY,
    OPENAI_TINY_RESNET,
    half,
    random_model,
    write_hub_folder,
    write_openai_archive,
)
from PIL import Image
from safetensors.torch import save_file
from small_clip import CONFIG, random_clip

from emobench.concepts.clip import load_clip, save_clip
from emobench.concepts.clip_files import from_checkpoint, look_at
from emobench.concepts.openai_archive import OPENAI_MEAN, OPENAI_STD
from emobench.errors import UserError
from emobench.settings.concepts import GivenClip

TEXTS = ["smile", "closed eyes", "a face with raised brows"]


def given(path, model="", mean=(), std=()):
    return GivenClip(str(path), ["{}"], 64, "checkpoint", model, list(mean), list(std))


def weights_of(path, model="small"):
    return given(path, model, OPENAI_MEAN, OPENAI_STD)


@pytest.fixture
def small_name(monkeypatch):
    """open_clip knows a model of the name small."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "small", CONFIG)


def pictures(side):
    return np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)


def theirs(model, side, mean=OPENAI_MEAN, std=OPENAI_STD):
    """What open_clip itself makes of pictures in its own transform, and of texts."""
    transform = open_clip.image_transform(side, is_train=False, mean=mean, std=std)
    inputs = torch.stack([transform(Image.fromarray(image)) for image in pictures(side)])
    tokens = open_clip.SimpleTokenizer(context_length=model.context_length)(TEXTS)
    with torch.inference_mode():
        return model.encode_image(inputs, normalize=True).numpy(), model.encode_text(tokens, normalize=True).numpy()


def assert_embeds_like(clip, model, side):
    images, texts = theirs(model, side)
    np.testing.assert_allclose(clip.embed_images(pictures(side), 2), images, atol=1e-5)
    np.testing.assert_allclose(clip.embed_texts(TEXTS), texts, atol=1e-5)


@pytest.mark.parametrize("config", [OPENAI_TINY, OPENAI_TINY_RESNET], ids=["vit", "resnet"])
def test_openais_archive_embeds_as_open_clip_reads_it_and_is_kept(tmp_path, config):
    path = write_openai_archive(tmp_path / "tiny.pt", random_model(config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = open_clip.load_openai_model(str(path), device="cpu")
    clip = from_checkpoint(given(path), "cpu")
    assert_embeds_like(clip, model, 32)
    assert clip.config["quick_gelu"]
    assert (clip.preprocess["mean"], clip.origin.name) == (list(OPENAI_MEAN), "OpenAI's tiny")
    save_clip(tmp_path, clip)
    assert_embeds_like(load_clip(tmp_path), model, 32)
    assert_embeds_like(open_clip_reads(tmp_path), model, 32)


def open_clip_reads(folder):
    """The folder as open_clip itself reads it, behind our two methods."""
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    ours = load_clip(folder)
    ours.model.load_state_dict(model.state_dict())
    return ours


@pytest.mark.parametrize("weights", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_a_hub_folder_embeds_as_open_clip_reads_it(tmp_path, weights):
    folder = write_hub_folder(tmp_path / "hub", random_model(OPENAI_TINY), OPENAI_TINY, weights=weights)
    clip = from_checkpoint(given("hub"), "cpu", root=tmp_path)
    assert_embeds_like(clip, open_clip.create_model(f"local-dir:{folder}").eval(), 32)
    assert clip.origin.name == "hub"
    assert len(clip.origin.weights_digest) == 64


B_16 = "ViT-B-16-quickgelu"


@pytest.fixture(scope="module")
def vit_b_16():
    """A model of the true size, and what open_clip makes of pictures and texts with it."""
    model = half(random_model(open_clip.get_model_config(B_16)))
    return model, theirs(model, 224)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["archive", "folder", "weights"])
def test_a_vit_b_16_in_every_form(vit_b_16, tmp_path, form):
    model, (images, texts) = vit_b_16
    if form == "archive":
        write_openai_archive(tmp_path / "ViT-B-16.pt", model)
        clip = given("ViT-B-16.pt", B_16)
    elif form == "folder":
        write_hub_folder(tmp_path / "vit", model, open_clip.get_model_config(B_16))
        clip = given("vit", B_16, OPENAI_MEAN)
    else:
        save_file({key: value.half() for key, value in model.state_dict().items()}, tmp_path / "openai.safetensors")
        clip = weights_of("openai.safetensors", B_16)
    found = from_checkpoint(clip, "cpu", root=tmp_path)
    np.testing.assert_allclose(found.embed_images(pictures(224)), images, atol=1e-5)
    np.testing.assert_allclose(found.embed_texts(TEXTS), texts, atol=1e-5)


def test_what_params_state_must_not_contradict_the_files(tmp_path, small_name):
    archive = write_openai_archive(tmp_path / "tiny.pt", random_model(OPENAI_TINY))
    folder = write_hub_folder(tmp_path / "hub", random_model(OPENAI_TINY), OPENAI_TINY, mean=[0.5] * 3)
    cases = [
        (given(archive, "ViT-B-16"), "clip.model is ViT-B-16, whose quick_gelu is False, but .*tiny.pt says True"),
        (given(archive, "ViT-B-32-quickgelu"), "whose embed_dim is 512, but .* says 16; expected"),
        (given(archive, "ViT-B-61"), "unknown params: clip.model 'ViT-B-61'; known: .*ViT-B-16-quickgelu"),
        (given(archive, mean=[0.5] * 3), r"clip.image_mean is \[0.5, 0.5, 0.5\], but .*tiny.pt says \[0.481"),
        (given(archive, std=[0.5]), r"clip.image_std is \[0.5\], but"),
        (
            given(folder, mean=OPENAI_MEAN),
            r"but .*open_clip_config.json says \[0.5, 0.5, 0.5\]; expected that, or \[\]",
        ),
        (given(folder, "small"), "clip.model is small, whose quick_gelu is False"),
    ]
    for clip, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            look_at(clip)
        assert "\n" not in str(caught.value)
    assert look_at(given(folder, mean=[0.5] * 3, std=OPENAI_STD)).preprocess["mean"] == [0.5] * 3


def test_folders_of_another_form_are_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    model = random_model(OPENAI_TINY)
    write_hub_folder(tmp_path / "bare", model, OPENAI_TINY)
    (tmp_path / "bare" / "open_clip_config.json").rename(tmp_path / "bare" / "config.json")
    write_hub_folder(tmp_path / "size", model, OPENAI_TINY, size=64)
    write_hub_folder(tmp_path / "mode", model, OPENAI_TINY, interpolation="random")
    for name, text in {"torn": "{", "other": "{}", "lacks": '{"model_cfg": {"embed_dim": 3}}'}.items():
        folder = write_hub_folder(tmp_path / name, model, OPENAI_TINY)
        (folder / "open_clip_config.json").write_text(text)
    other = OPENAI_TINY | {"embed_dim": 8}
    write_hub_folder(tmp_path / "fits", model, other)
    write_hub_folder(tmp_path / "hub_text", model, OPENAI_TINY | {"text_cfg": {"hf_model_name": "roberta-base"}})
    write_hub_folder(tmp_path / "odd", model, OPENAI_TINY | {"odd": 1})
    cases = {
        "empty": "holds nothing; expected open_clip_config.json and one of open_clip_model.safetensors",
        "bare": "holds config.json, open_clip_model.safetensors; expected open_clip_config.json",
        "size": "preprocess_cfg has size 64, vision_cfg image_size 32",
        "mode": "by random interpolation",
        "torn": "is not an open_clip config",
        "other": "is not an open_clip config",
        "lacks": "lacks embed_dim, vision_cfg or text_cfg",
        "fits": r"doesn't fit .*wrong shapes: .*text_projection \(64, 16\), expected \(64, 8\)",
        "hub_text": "built from files on a model hub",
        "odd": "not an open_clip model config",
        "absent": "no weights file .*absent",
    }
    for name, message in cases.items():
        with pytest.raises(UserError, match=message) as caught:
            from_checkpoint(given(name), "cpu", root=tmp_path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["safetensors", "bare", "state_dict", "half", "module"])
def test_bare_weights_load_from_every_form(small_name, tmp_path, form):
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
    clip = from_checkpoint(weights_of(path), "cpu")
    expected = half(random_clip(seed=1)) if form == "half" else random_clip(seed=1)
    for name, value in expected.state_dict().items():
        assert torch.equal(clip.model.state_dict()[name], value)
    assert (clip.origin.source, clip.origin.name, clip.origin.saw_labels) == ("checkpoint", "small", False)
    assert clip.preprocess["size"] == 32


def test_wrong_bare_weights_are_one_line(small_name, tmp_path):
    state = random_clip().state_dict()
    save_file(state, tmp_path / "right.safetensors")
    state["ln_final.weight"] = torch.ones(3)
    state["odd"] = state.pop("ln_final.bias")
    save_file(state, tmp_path / "wrong.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    (tmp_path / "torn.pt").write_bytes(b"torn")
    torch.save([1, 2], tmp_path / "list.pt")
    right = tmp_path / "right.safetensors"
    cases = [
        (weights_of(tmp_path / "absent.pt"), "no weights file"),
        (weights_of(tmp_path / "torn.safetensors"), "not a weights file"),
        (weights_of(tmp_path / "torn.pt"), "expected .safetensors"),
        (weights_of(tmp_path / "list.pt"), "holds no state dict"),
        (
            weights_of(tmp_path / "wrong.safetensors"),
            r"missing keys: ln_final.bias; unexpected keys: odd; .*weight \(3,\), expected",
        ),
        (weights_of(right, "ViT-B-61"), "known: .*ViT-B-16-quickgelu"),
        (weights_of(right, ""), "clip.model is empty, but .* holds only weights"),
        (given(right, "small"), r"clip.image_mean is \[\], .* expected three numbers"),
        (weights_of(right, "ViT-B-16-SigLIP"), "needs the tokenizer timm/ViT-B-16-SigLIP .* whole folder"),
        (weights_of(right, "xlm-roberta-base-ViT-B-32"), "model hub"),
    ]
    for clip, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            from_checkpoint(clip, "cpu")
        assert "\n" not in str(caught.value)


def test_openai_weights_need_their_quick_gelu_and_their_preprocessing(small_name, tmp_path, monkeypatch):
    path = tmp_path / "vit_openai.safetensors"
    save_file(random_clip().state_dict(), path)
    with pytest.raises(UserError, match="need quick GELU"):
        from_checkpoint(weights_of(path), "cpu")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "small", CONFIG | {"quick_gelu": True})
    assert from_checkpoint(weights_of(path), "cpu").config["quick_gelu"]
    with pytest.raises(UserError, match=r"OpenAI's weights, but clip.image_std is \[0.5, 0.5, 0.5\]"):
        from_checkpoint(given(path, "small", OPENAI_MEAN, [0.5] * 3), "cpu")


def test_a_siglip_folder_brings_its_tower_and_its_tokenizer(tmp_path):
    # timm must not look for weights, whatever the config says.
    config = SIGLIP | {"vision_cfg": SIGLIP["vision_cfg"] | {"timm_model_pretrained": True}}
    folder = write_hub_folder(
        tmp_path / "siglip", random_model(SIGLIP), config, mean=[0.5] * 3, std=[0.5] * 3, resize_mode="squash"
    )
    write_tokenizer(folder)
    clip = from_checkpoint(given(folder), "cpu")
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    transform = open_clip.image_transform(
        160, is_train=False, mean=[0.5] * 3, std=[0.5] * 3, resize_mode="squash", interpolation="bicubic"
    )
    inputs = torch.stack([transform(Image.fromarray(image)) for image in pictures(160)])
    # "Smile!" becomes smile; four words are cut so that the end token still fits.
    tokens = torch.tensor([[2, 1, 1, 1], [3, 4, 1, 1], [0, 0, 2, 1]])
    with torch.inference_mode():
        images, texts = model.encode_image(inputs, normalize=True), model.encode_text(tokens, normalize=True)
    for found in (clip, saved_and_loaded(clip, tmp_path / "saved")):
        assert torch.equal(found.tokenizer(["Smile!", "closed eyes", "no such smile at all"]), tokens)
        np.testing.assert_allclose(found.embed_images(pictures(160)), images, atol=1e-5)
        vectors = found.embed_texts(["Smile!", "closed eyes", "no such smile at all"])
        np.testing.assert_allclose(vectors, texts, atol=1e-5)
        assert found.preprocess["resize_mode"] == "squash"
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="tokenizer timm/tiny .* the model's whole folder with tokenizer.json in it"):
        from_checkpoint(given(folder), "cpu")


SIGLIP = {
    "embed_dim": 64, "init_logit_bias": -10, "custom_text": True,
    "vision_cfg": {
        "image_size": 160, "timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": {
        "context_length": 4, "vocab_size": 5, "hf_tokenizer_name": "timm/tiny", "width": 64, "heads": 2, "layers": 1,
        "tokenizer_kwargs": {"clean": "canonicalize"}, "no_causal_mask": True, "proj_bias": True, "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    },
}  # fmt: skip


def write_tokenizer(folder):
    """A tokenizer of whole words that ends texts and fills up with </s>, as SigLIP's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {"<unk>": 0, "</s>": 1, "smile": 2, "closed": 3, "eyes": 4}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "</s>"}))


def saved_and_loaded(clip, folder):
    folder.mkdir()
    save_clip(folder, clip)
    return load_clip(folder)
