import numpy as np
import pandas as pd
import pytest

from emobench.files import write_json
from emobench.networks.evidence import description_evidence, own_class_units
from emobench.vocabulary import CLASSES


def test_own_class_units_counts_lin3_only() -> None:
    last = pd.DataFrame({"layer": "lin3", "unit": range(7), "description": ["angry", "fear", *CLASSES[2:]]})
    other = pd.DataFrame({"layer": "lin2", "unit": [0], "description": ["angry"]})
    assert own_class_units(pd.concat([last, other])) == {"own_class": 6, "units": 7}


def test_true_descriptions_score_above_random_ones(tmp_path) -> None:
    rng = np.random.default_rng(0)
    annotations = pd.DataFrame(rng.random((400, 4), np.float32), columns=["a", "b", "c", "unmeasured"])
    annotations["unmeasured"] = np.nan
    write_json(tmp_path / "source.json", {"images_digest": "x"})
    for layer in ("lin1", "lin2"):
        np.save(tmp_path / f"{layer}.npy", annotations[["a", "b", "c", "a"]].to_numpy())
    described = {"layer": ["lin1"] * 4 + ["lin2"] * 4, "description": ["a", "b", "c", "hat"] * 2}
    found = description_evidence(pd.DataFrame(described), annotations, tmp_path, "x", np.arange(100, 400), seed=0)
    assert found["lin1"]["units"] == 3, "a description that nobody measured is left out"
    assert found["lin1"]["described"] == pytest.approx(1)
    assert found["lin2"]["random"] < 0.9
    table = pd.DataFrame({"layer": ["lin1"], "description": ["hat"]})
    assert description_evidence(table, annotations, tmp_path, "x", np.arange(9), seed=0) == {}
