"""The stage baseline on a machine that computes bfloat16 and on one that doesn't, whatever this one is."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from small_card import write_small_card

from emobench import device
from emobench.layout import Layout
from emobench.networks.loading import save_network
from emobench.networks.training import Trainer, new_network
from emobench.params import Params, load_params
from emobench.stages import baseline


@pytest.fixture
def layout(tmp_path) -> Layout:
    layout = Layout("demo", tmp_path)
    layout.data.mkdir(parents=True)
    rng, count = np.random.default_rng(0), 80
    np.save(layout.data / "images.npy", rng.integers(0, 256, (count, 48, 48), dtype=np.uint8))
    index = {
        "image_id": [f"synthetic/{row:06d}" for row in range(count)], "label": rng.integers(0, 7, count),
        "split": ["train"] * 40 + ["val"] * 20 + ["test"] * 20, "status": "kept", "reason": "", "duplicate_of": None,
        "near_duplicate_of": None, "leaks": False, "conflict": False,
    }  # fmt: skip
    pd.DataFrame(index).to_parquet(layout.data / "index.parquet")
    write_small_card(layout.data)
    return layout


def params_with(**changes) -> Params:
    params = load_params("emobench/presets/demo.yaml")
    tiny = {"width": 1 / 32, "epochs": 2, "batch_size": 20} | changes
    return dataclasses.replace(params, device="cpu", baseline=dataclasses.replace(params.baseline, **tiny))


def precision(layout: Layout) -> str:
    return json.loads((layout.reports / "baseline.json").read_text())["precision"]


@pytest.mark.parametrize("native", [True, False])
def test_the_presets_precision_is_the_machines(layout, monkeypatch, capsys, native) -> None:
    monkeypatch.setattr(device, "computes_bfloat16", lambda on: native)
    weights = {}
    for name in ("auto", "float32", "bfloat16"):
        monkeypatch.setattr(device, "slowdown", lambda on: 11.0)
        baseline.run(params_with(precision=name), layout)
        weights[name] = (layout.models / "baseline.safetensors").read_bytes()
        assert precision(layout) == {"auto": "bfloat16" if native else "float32"}.get(name, name)
    assert weights["auto"] == weights["bfloat16" if native else "float32"]
    assert weights["float32"] != weights["bfloat16"]
    assert ("emulates" in capsys.readouterr().err) == (not native)


def test_given_weights_are_used_in_float32(layout, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(device, "computes_bfloat16", lambda on: True)
    save_network(new_network(1 / 32, 0.1, 0), tmp_path / "given.safetensors")
    baseline.run(params_with(source="weights", weights=str(tmp_path / "given.safetensors")), layout)
    assert precision(layout) == "float32"


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
            baseline.run(params_with(), layout)
        begun.append({path.name for path in (layout.partial / "baseline").iterdir()})
    assert (len(begun[0]), len(begun[1])) == (1, 2)
    monkeypatch.setattr(Trainer, "_finish_epoch", finish)
    baseline.run(params_with(), layout)
    assert precision(layout) == "float32"
    assert {path.name for path in (layout.partial / "baseline").iterdir()} == begun[0]
