import copy
import re
from pathlib import Path

import pytest
import yaml

from emobench.errors import UserError
from emobench.params import Params, load_params

PRESETS = Path(__file__).parents[1] / "emobench" / "presets"
DEMO = yaml.safe_load((PRESETS / "demo.yaml").read_text())


def load(tmp_path: Path, changes: dict) -> Params:
    values = copy.deepcopy(DEMO)
    for key, value in changes.items():
        *sections, last = key.split(".")
        target = values
        for section in sections:
            target = target[section]
        if value is None:
            del target[last]
        else:
            target[last] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_params(path)


@pytest.mark.parametrize("preset", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_complete(preset: Path) -> None:
    assert load_params(preset).name == preset.stem


def test_committed_params_are_the_demo() -> None:
    assert load_params(PRESETS.parents[1] / "params.yaml") == load_params(PRESETS / "demo.yaml")


def test_whole_numbers_are_floats_where_floats_are_wanted(tmp_path: Path) -> None:
    tau = load(tmp_path, {"dissect.tau": 1}).dissect.tau
    assert tau == 1.0
    assert isinstance(tau, float)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline.widht": 1.0}, "params key in baseline: 'widht'; known: source, weights, width"),
        ({"edit.taus": None}, "edit lacks taus"),
        ({"seed": "zero"}, "seed is 'zero'; expected int"),
        ({"seed": True}, "seed is True; expected int"),
        ({"baseline.max_lr": "1e-3"}, "baseline.max_lr is '1e-3'; expected float (write 0.001, not 1e-3)"),
        ({"baseline.dropout": 1.5}, "baseline.dropout is 1.5; expected 0 to 0.95"),
        ({"baseline.dropout": float("nan")}, "baseline.dropout is nan; expected 0 to 0.95"),
        ({"edit.factors": [1.5, -1]}, "edit.factors[1] is -1.0; expected 0 to 4"),
        ({"edit.factors": [0, 1.5]}, "edit.factors has a 0, but arm similarity divides the other rows by it"),
        ({"edit.divided_factors": [0]}, "edit.divided_factors has a 0, but arm fdr divides"),
        ({"edit.paper.factor": 0}, "edit.paper.factor is 0"),
        ({"edit.operations": []}, "edit.operations is empty; expected at least one value"),
        ({"edit.operations": ["double"]}, "edit.operations[0]: 'double'; known: rows, rows_bias, zero, mean"),
        ({"edit.arms": ["luck"]}, "edit.arms[0]: 'luck'; known: similarity, weight_norm, proportional, fdr"),
        ({"edit.jobs": 0}, "edit.jobs is 0; expected 1"),
        ({"edit.controls.draws": -1}, "edit.controls.draws is -1; expected 0"),
        ({"edit.factors": 1.5}, "edit.factors is 1.5; expected a list"),
        ({"edit.search.pulls": []}, "edit.search.pulls and strengths need at least one value each"),
        ({"edit.search.strengths": [0, 1.0]}, "no strength of 0"),
        ({"edit.search.joint": ["lin1"]}, "edit.search.joint is ['lin1']; expected no layer, or at least two"),
        ({"edit.search.joint": ["lin1", "lin1"]}, "expected no layer, or at least two, each once"),
        ({"edit.search.split": "test"}, "edit.search.split: 'test'; known: train, val"),
        ({"edit.search.folds": 1}, "edit.search.folds is 1; expected 2 to inf"),
        ({"edit.layer": "lin9"}, "edit.layer: 'lin9'; known: auto, conv1a"),
        ({"edit.layer": "lin3"}, "edit.layer: 'lin3'; known: auto, conv1a"),
        ({"edit.concept_set": "moods"}, "edit.concept_set 'moods'; known: emotions, expressions"),
        ({"concept_sets": ["emotions", "emotions"]}, "concept_sets is ['emotions', 'emotions']; expected at least one"),
        ({"dissect": [1]}, "dissect is [1]; expected a mapping"),
        ({"name": "../x"}, "name is '../x'; expected small letters"),
        ({"dissect.soft_wpmi.p_end": 0.999}, "p_end is above p_start"),
    ],
)
def test_wrong_values_name_section_and_key(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load(tmp_path, changes)


def test_a_factor_of_zero_needs_arms_that_do_not_divide(tmp_path: Path) -> None:
    changes = {"edit.arms": ["proportional", "effect"], "edit.factors": [0, 1.5], "edit.lone_factors": [0]}
    assert load(tmp_path, changes | {"edit.divided_factors": [0]}).edit.factors == [0.0, 1.5]


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="emobench use demo"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("name: [")
    with pytest.raises(UserError, match="not valid YAML"):
        load_params(tmp_path / "params.yaml")
