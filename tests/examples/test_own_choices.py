"""A user's own selection strategy and score function, from params to the page, and what they may do wrong."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from emobench.dissection.own_scorer import OwnScorer, pooled_null
from emobench.edits.own_arm import own_arm
from emobench.errors import UserError
from emobench.functional.similarity import cos_similarity
from emobench.own_code import own_function
from emobench.params import load_params, read_params
from emobench.stages import compare, dissect, edit

ROOT = Path(__file__).parents[2]
OWN = "examples/own/choices.py"


def own_params(params):
    functions = {"file": OWN, "similarity_fns": [f"{OWN}:mean_difference"], "resamples": 2}
    arms = {"file": OWN, "arms": [f"{OWN}:clear"], "similarity_fn": "mean_difference", "divided_factors": [1.5]}
    search = dataclasses.replace(params.edit.search, kinds=[])
    changed = dataclasses.replace(params.edit, **arms, layer="lin2", search=search)
    alone = dataclasses.replace(params.record, untrained=False, noise=0.0)
    dissected = dataclasses.replace(params.dissect, **functions)
    return dataclasses.replace(params, dissect=dissected, edit=changed, record=alone)


@pytest.mark.slow
def test_the_examples_are_dissected_edited_and_judged(real_copy, monkeypatch) -> None:
    params, layout = real_copy
    monkeypatch.chdir(ROOT)
    params = own_params(params)
    for stage in (dissect, edit, compare):
        stage.run(params, layout)
    units = pd.read_parquet(layout.artifacts / "units.parquet")
    assert set(units["similarity_fn"]) == {"mean_difference"}
    own = units[(units["similarity_fn"] == "mean_difference") & (units["concept_set"] == "expressions")]
    assert own["null_p"].between(0, 1).all()
    # Known: a concept's mean over a unit's own images less that over all is a difference of means in [-2, 2].
    assert own["similarity"].abs().max() < 2
    configs = pd.read_parquet(layout.artifacts / "configs.parquet")
    judged = configs[(configs["arm"] == "clear") & (configs["images"] == "test")]
    last = own[own["layer"] == "lin2"]
    assert judged["n_up"].tolist() == [int((last["margin"] > last["margin"].median()).sum())]
    verdicts = pd.read_parquet(layout.artifacts / "verdicts.parquet")
    assert set(verdicts["arm"]) == {"clear", "cross_fitted"}
    assert verdicts["control_draws"].min() > 0


def test_the_null_of_any_function_keeps_its_level_and_finds_what_is_there(tmp_path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from emobench.functional.similarity import cos_similarity\n\n\ndef mine(scores, activations):\n"
                    "    return cos_similarity(scores, activations)\n")  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    scores, noise = torch.rand(300, 8, generator=generator), torch.rand(300, 400, generator=generator)
    scorer = OwnScorer(f"{path}:mine", scores, 2000, seed=0)
    found, null = scorer.judge(noise, noise)
    torch.testing.assert_close(found, cos_similarity(scores, noise))
    p = null.p_values().numpy()
    # 400 units that know nothing: a twentieth below .05, give or take three standard deviations of a binomial.
    assert abs((p < 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 400)
    knowing = noise.clone()
    knowing[:, 0] += 3 * scores[:, 2]
    found, null = scorer.judge(knowing, knowing)
    assert found[0].argmax() == 2
    assert null.p_values()[0] == 1 / (1 + null.draws)


def test_draws_are_standardised_by_the_others() -> None:
    draws = torch.tensor([[0.0], [1.0], [5.0]], dtype=torch.float64)
    one = [(value - np.mean(rest)) / np.std(rest, ddof=1) for value, rest in ((0, [1, 5]), (1, [0, 5]), (5, [0, 1]))]
    observed = (4 - 2) / np.std([0, 1, 5], ddof=1)
    best = pooled_null(draws, torch.tensor([4.0]), torch.tensor([1]))
    assert best.exceeding.tolist() == [sum(value >= observed for value in one)]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def mine(target):\n    return helper(0)\n\n\ndef helper(x):\n    return 1 / x\n",
         r"mine.py, line 2, in mine: return helper\(0\) > line 6, in helper: return 1 / x: ZeroDivisionError"),
        ("def mine(target):\n    yield 1 / 0\n", "line 2, in mine: yield 1 / 0: ZeroDivisionError"),
        ("def mine(target):\n    return [1]\n", "mine.py:mine returns a int; expected a mask of units"),
        ("import torch\n\n\ndef mine(_):\n    return torch.ones(3)",
         r"torch.float32 \(3,\); expected a mask"),
        ("def other(target):\n    pass\n", "mine.py has no function 'mine'"),
        ("def mine(:\n", "mine.py, line 1: SyntaxError: invalid syntax"),
        (None, "no file .*mine.py; expected FILE.py:FUNCTION"),
    ],
)  # fmt: skip
def test_what_a_users_file_does_wrong_is_told_by_its_own_lines(tmp_path, code, message) -> None:
    path = tmp_path / "mine.py"
    if code is not None:
        path.write_text(code)

    class Target:
        units = range(4)

    with pytest.raises(UserError, match=message):
        list(own_arm(f"{path}:mine")(Target()))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("activations.T", r"torch.float32 of shape \(4, 9\); expected float \(4, 2\)"),
        ("activations.T[:, :2] / 0 * 0", "with NaN"),
        ("scores[:4] / missing", "line 2, in mine: .*NameError"),
    ],
)
def test_a_score_function_of_another_form_is_refused(tmp_path, returned, message) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"def mine(scores, activations):\n    return {returned}\n")
    scores, activations = torch.rand(9, 2), torch.rand(9, 4)
    with pytest.raises(UserError, match=message):
        OwnScorer(f"{path}:mine", scores, 100, 0).similarity(scores, activations, activations)


def test_a_function_runs_the_file_as_it_is_now(tmp_path) -> None:
    path = tmp_path / "mine.py"
    for answer in (1, 2):
        path.write_text(f"def mine():\n    return {answer}{' ' * answer}\n")
        assert own_function(f"{path}:mine")() == answer


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("arms: [similarity,", "arms: [mine.py:pick,", "edit.file is data/raw/none, edit.arms names mine.py; expected"),
        ("arms: [similarity,", "arms: [mine.py:fdr,", "edit.arms has a function called fdr, but that name is taken"),
        (
            "arms: [similarity,",
            "arms: [mine.py,",
            "edit.arms.0.: 'mine.py'; known: similarity.*effect, FILE.py:FUNCTION",
        ),
        (
            "fns: [soft_wpmi,",
            "fns: [a.py:f, b.py:g,",
            "dissect.similarity_fns names a.py, b.py; expected the same, one",
        ),
        ("similarity_fn: soft_wpmi", "similarity_fn: mine", "edit.similarity_fn 'mine'; known: soft_wpmi, wpmi"),
    ],
)
def test_params_name_one_watched_file_and_no_name_twice(old, new, message) -> None:
    text = (ROOT / "params.yaml").read_text()
    assert load_params(ROOT / "params.yaml") == read_params(text, "params.yaml")
    text = text.replace(old, new)
    if "mine.py:fdr" in new:
        text = text.replace("  file: data/raw/none\n  arms", "  file: mine.py\n  arms")
    with pytest.raises(UserError, match=message):
        read_params(text, "params.yaml")
