"""The causal study's tables, from units that are made by hand."""

import dataclasses
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))
import causal
import causal_bench

import emobench
from emobench.errors import UserError
from emobench.params import load_params

PRESETS = Path(emobench.__file__).parent / "presets"


def test_a_layer_of_a_detector_its_opposite_and_a_dead_unit() -> None:
    response = torch.tensor([[2.0, 0.0, 0.0], [0.0, -1.0, 1.0], [0.0, 0.0, 0.0]])
    row, units = causal.of_layer(response, torch.eye(3), torch.tensor([0, 1, 2]))
    assert (row["units"], row["dead"], row["first"], row["falls"]) == (3, 1, 0.5, 0.5)
    assert units["specificity"][:2].tolist() == [1, 0]
    assert units["rank"].tolist()[:2] == [1, 3]
    assert row["response"] == pytest.approx(0.5)
    assert row["specificity_best"] == pytest.approx((1 + 0.5) / 2)
    assert row["specificity_random"] == pytest.approx((1 + 0.5) / 6)


def test_detectors_and_explanations_of_units_that_are_concepts() -> None:
    generator = torch.Generator().manual_seed(0)
    probe, held = torch.rand(400, 4, generator=generator), torch.rand(300, 4, generator=generator)
    table, at = pd.DataFrame({"similarity": [1.0, 2.0, 3.0]}), torch.tensor([0, 1, 1])
    units = torch.cat([probe[:, :2], probe[:, 3:]], 1), torch.cat([held[:, :2], held[:, 3:]], 1)
    found = causal.detectors(*units, (probe, held), table, at)
    # Unit 2, which is concept 3, is said to be concept 1 more strongly than unit 1 is.
    assert found["concepts"] == 2
    assert found["auprc_best_unit"] == pytest.approx(1)
    assert found["auprc_chance"] < found["auprc_described_unit"] < 0.8
    assert found["auprc_diff_mean"] > 0.9
    like = torch.tensor([1, 0, 0])
    means = dict(causal.explanations(*units, (probe, held), at, like, 2))
    assert means["description"] == pytest.approx(2 / 3, abs=0.06)
    assert means["like_unit"] == pytest.approx(0, abs=0.06)
    assert means["one_concept"] == pytest.approx(means["few_concepts"], abs=0.01) == pytest.approx(1, abs=0.01)


def test_faces_that_nobody_drew(monkeypatch) -> None:
    params = load_params(PRESETS / "fer2013.yaml")
    monkeypatch.setattr(causal_bench, "load_params", lambda: dataclasses.replace(params, name="mine"))
    with pytest.raises(UserError, match="mine has images of fer2013; expected drawn faces"):
        causal_bench.bench()
