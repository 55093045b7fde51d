import dataclasses

import open_clip
import pytest
import torch
from open_clip import pretrained
from small_clip import CONFIG, random_clip

from emobench.concepts.clip_sources import from_hub
from emobench.errors import UserError
from emobench.settings.concepts import PublishedClip


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A published model whose file is here already: open_clip's own way of naming a local file in its list."""
    weights = tmp_path / "published.pt"
    torch.save(random_clip(seed=2).state_dict(), weights)
    entry = {"file": str(weights), "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "bicubic"}
    fast = {**entry, "quick_gelu": True}
    monkeypatch.setitem(pretrained._PRETRAINED, "small", {"web": entry, "fast": fast})
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "small", CONFIG)
    return PublishedClip("data/raw/none", ["{}"], 64, "pretrained", "small", "web", True)


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


def test_a_model_with_a_tokenizer_of_its_own_is_not_fetched(published, monkeypatch):
    monkeypatch.setattr(open_clip, "download_pretrained", None)
    own = {**CONFIG, "text_cfg": CONFIG["text_cfg"] | {"hf_tokenizer_name": "some/name"}}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "small", own)
    with pytest.raises(UserError, match="needs the tokenizer some/name .* the model's whole folder"):
        from_hub(published, "cpu")
