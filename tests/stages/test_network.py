"""The stage network on a machine that computes bfloat16 and on one that doesn't, whatever this one is."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from presets import preset
from small_card import write_small_card, write_small_set
from small_network import new_network

from emobench import device
from emobench.errors import UserError
from emobench.layout import Layout
from emobench.networks.sources import load_network, save_weights
from emobench.networks.training import Trainer
from emobench.params import NONE, Params
from emobench.settings.network import GivenNetwork
from emobench.stages import network
from emobench.vocabulary.class_names import BASIC


@pytest.fixture
def layout(tmp_path) -> Layout:
    layout = Layout("demo", tmp_path)
    rng, counts = np.random.default_rng(0), {"train": 40, "val": 20, "test": 20}
    images = rng.integers(0, 256, (80, 48, 48), dtype=np.uint8)
    write_small_set(layout.data, images, rng.integers(0, 7, 80), counts)
    return layout


def params_with(**changes) -> Params:
    params = preset()
    train = dataclasses.replace(params.network.train, **({"epochs": 2, "batch_size": 20} | changes))
    tiny = dataclasses.replace(params.network, options={"width": 1 / 32, "dropout": 0.1}, train=train)
    return dataclasses.replace(params, device="cpu", network=tiny)


def given(path, **changes) -> Params:
    params = preset()
    keys = {"architecture": "vggnet", "options": {"width": 1 / 32}, "file": NONE, "picture": "auto", "layers": "auto"}
    asked = keys | {"input": str(path), "source": "weights", "classes": [], "output": "", "sha256": ""} | changes
    return dataclasses.replace(params, device="cpu", network=GivenNetwork(**asked))


def precision(layout: Layout) -> str:
    return json.loads((layout.reports / "network.json").read_text())["precision"]


@pytest.mark.parametrize("native", [True, False])
def test_the_presets_precision_is_the_machines(layout, monkeypatch, capsys, native) -> None:
    monkeypatch.setattr(device, "computes_bfloat16", lambda on: native)
    weights = {}
    for name in ("auto", "float32", "bfloat16"):
        monkeypatch.setattr(device, "slowdown", lambda on: 11.0)
        network.run(params_with(precision=name), layout)
        weights[name] = (layout.models / "network" / "weights.safetensors").read_bytes()
        assert precision(layout) == {"auto": "bfloat16" if native else "float32"}.get(name, name)
    assert weights["auto"] == weights["bfloat16" if native else "float32"]
    assert weights["float32"] != weights["bfloat16"]
    assert ("emulates" in capsys.readouterr().err) == (not native)


def test_given_weights_are_used_in_float32(layout, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(device, "computes_bfloat16", lambda on: True)
    save_weights(new_network(1 / 32, 0.1, 0).state_dict(), tmp_path / "given.safetensors")
    network.run(given(tmp_path / "given.safetensors"), layout)
    assert precision(layout) == "float32"


def test_names_join_the_networks_outputs_with_the_datas_classes(layout, tmp_path) -> None:
    save_weights(new_network(1 / 32, 0.1, 0).state_dict(), tmp_path / "given.safetensors")
    network.run(given(tmp_path / "given.safetensors"), layout)
    images, plain = np.load(layout.data / "images.npy"), load_network(layout.models / "network")
    names = ["Happiness", "neutral", "anger", "disgusted", "fear", "sadness", "surprise"]
    network.run(given(tmp_path / "given.safetensors", classes=names, layers=["conv4?", "lin*"]), layout)
    joined = load_network(layout.models / "network")
    assert joined.classes == BASIC
    assert joined.card.outputs == ("happy", "neutral", "angry", "disgust", "fear", "sad", "surprise")
    assert [layer.name for layer in joined.card.chosen] == ["conv4a", "conv4b", "lin1", "lin2", "lin3"]
    order = [joined.card.outputs.index(name) for name in BASIC]
    assert torch.equal(joined.logits(images), plain.logits(images)[:, order])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["angry", "happy"]}, r"wrong shapes: lin3.weight \(7, 128\), expected \(2, 128\)"),
        ({"classes": ["a", "b", "c", "d", "e", "f", "g"]}, "the network has no output for angry, disgust"),
        ({"layers": ["conv9*"]}, r"network.layers: 'conv9\*'; known: conv1a"),
        ({"options": {"width": 1 / 16}}, "does not fit"),
        ({"architecture": "timm/resnet81"}, "no architecture 'resnet81'; nearest: resnet"),
    ],
)
def test_what_does_not_fit_is_told_and_leaves_nothing(layout, tmp_path, changes, said) -> None:
    save_weights(new_network(1 / 32, 0.1, 0).state_dict(), tmp_path / "given.safetensors")
    with pytest.raises(UserError, match=said):
        network.run(given(tmp_path / "given.safetensors", **changes), layout)
    assert not (layout.models / "network").exists()


def test_outputs_in_another_order_than_stated_are_caught(layout, tmp_path) -> None:
    weights = new_network(1 / 32, 0.1, 0).state_dict()
    # With biases, random weights answer the same to all images but for what a processor rounds.
    weights |= {name: torch.zeros_like(value) for name, value in weights.items() if name.endswith(".bias")}
    save_weights(weights, tmp_path / "given.safetensors")
    network.run(given(tmp_path / "given.safetensors"), layout)
    index = pd.read_parquet(layout.data / "index.parquet")
    logits = load_network(layout.models / "network").logits(np.load(layout.data / "images.npy"))
    # A head of identity on what the network says apart: its answers become the labels.
    index["label"] = (logits - logits.mean(0)).argmax(1).numpy()
    index.to_parquet(layout.data / "index.parquet")
    write_small_card(layout.data)
    weights["lin3.bias"] = weights["lin3.bias"] - logits.mean(0)
    save_weights(weights, tmp_path / "given.safetensors")
    network.run(given(tmp_path / "given.safetensors"), layout)
    with pytest.raises(
        UserError,
        match=r"the classes seem to be in another order: 0.0% of 40 answers are right if .*, but 100.0% if they are",
    ):
        network.run(given(tmp_path / "given.safetensors", classes=[*BASIC[1:], BASIC[0]]), layout)


def test_a_training_begun_in_another_precision_is_not_resumed(layout, monkeypatch) -> None:
    finish, can = Trainer._finish_epoch, {"bfloat16": True}
    monkeypatch.setattr(device, "computes_bfloat16", lambda on: can["bfloat16"])

    def stop_in_second_epoch(self: Trainer, epoch: int, loss: float) -> None:
        if epoch == 1:
            raise KeyboardInterrupt
        finish(self, epoch, loss)

    begun = []
    for can["bfloat16"] in (True, False):
        monkeypatch.setattr(Trainer, "_finish_epoch", stop_in_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            network.run(params_with(), layout)
        begun.append({path.name for path in (layout.partial / "network").iterdir()})
    assert (len(begun[0]), len(begun[1])) == (1, 2)
    monkeypatch.setattr(Trainer, "_finish_epoch", finish)
    network.run(params_with(), layout)
    assert precision(layout) == "float32"
    assert {path.name for path in (layout.partial / "network").iterdir()} == begun[0]


def test_every_image_set_is_measured(layout) -> None:
    network.run(params_with(precision="float32"), layout)
    measured = json.loads((layout.reports / "network.json").read_text())
    assert [measured[name]["images"] for name in ("val", "test", "val_test")] == [20, 20, 40]
    confusion = pd.read_csv(layout.reports / "confusion.csv")
    assert (confusion.actual == confusion.predicted).mean() == pytest.approx(measured["val_test"]["accuracy"])
    assert len(pd.read_csv(layout.reports / "history.csv")) == 2
    assert not list((layout.partial / "network").glob("*"))
    save_weights(load_network(layout.models / "network").model.state_dict(), layout.root / "given.safetensors")
    options = {"width": 1 / 32, "dropout": 0.1}
    network.run(given(layout.root / "given.safetensors", options=options), layout)
    assert json.loads((layout.reports / "network.json").read_text()) == measured
    assert len(pd.read_csv(layout.reports / "history.csv")) == 0
