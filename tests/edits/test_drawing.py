import edit_bench
import numpy as np
import pandas as pd
import pytest
import torch

from emobench.edits.drawing import Chooser, Tally, rounds
from emobench.edits.family import LEVEL, PROTOCOLS
from emobench.edits.measuring import Bench
from emobench.edits.target import Configuration
from emobench.functional.stopping import sequential_p, settling_hits
from emobench.settings.edit import Controls
from emobench.stages import edit


@pytest.mark.parametrize("least", [0, 1, 25, 50, 199, 200, 500])
@pytest.mark.parametrize("more", [1, 4, 25])
def test_rounds_are_all_draws_in_their_order(least, more):
    found = list(rounds(Controls(draws=200, least=least), more))
    assert [draw for one in found for draw in one] == list(range(200))
    assert len(found[0]) == min(200, max(least, more))


@pytest.mark.parametrize("more", [1, 4, 25, 200])
@pytest.mark.parametrize("rate", [0.0, 0.03, 0.08, 0.5])
def test_where_a_kind_stops_does_not_depend_on_the_rounds_and_keeps_the_verdict(more, rate):
    controls, edit = Controls(draws=200, least=50), torch.tensor([60, 50, 100])
    generator = torch.Generator().manual_seed(int(100 * rate))
    right = edit - 1 + (torch.rand(200, 3, generator=generator) < rate).long()  # equal is as well as
    tally = Tally(controls, edit)
    for draws in rounds(controls, more):
        if tally.kept is None:
            tally.add(right[draws.start : draws.stop])
    hits = right >= edit
    settled = [made for made in range(50, 200) if (hits[:made].sum(0) >= 10).all()]
    assert tally.kept == (settled[0] if settled else 200)
    for column in hits.T:
        stopped = sequential_p(column[: tally.kept], 200, settling_hits(200, LEVEL))
        assert (stopped < LEVEL) == ((1 + int(column.sum())) / 201 < LEVEL)


def test_image_sets_on_which_nothing_can_improve_ask_for_no_more_draws():
    """Two sets are open: they decide alone; without any open set the least number is made."""
    controls, edit = Controls(draws=200, least=50), torch.tensor([60, 50, 100])
    right = edit - (torch.arange(200)[:, None] % torch.tensor([1, 20, 1000]) > 0).long()  # hits: all, ten in 200, one
    kept = {}
    for open_ in [(True, True, True), (True, True, False), (True, False, False), (False, False, False)]:
        tally = Tally(controls, edit, torch.tensor(open_))
        for draws in rounds(controls, 5):
            if tally.kept is None:
                tally.add(right[draws.start : draws.stop])
        kept[sum(open_)] = tally.kept
    assert kept == {3: 200, 2: 181, 1: 50, 0: 50}


def test_least_of_all_draws_switches_stopping_off():
    tally = Tally(Controls(draws=30, least=30), torch.tensor([1]))
    tally.add(torch.ones(29, 1, dtype=torch.int64))
    assert tally.kept is None
    tally.add(torch.ones(1, 1, dtype=torch.int64))
    assert tally.kept == 30


def test_in_small_batches_the_choice_is_the_same_and_nothing_is_evaluated_twice():
    generator, ones = torch.Generator().manual_seed(0), torch.ones(9)
    cells = [Configuration(f"c{i}", "search_free", torch.rand(9, generator=generator), factor=0.5) for i in range(6)]
    edit = Configuration("edit", "search_free", ones)

    class Asked:
        def __init__(self, first, count):
            self.cells = cells[first : first + count]

        def choice(self, cell, edit, bias):
            return cell

    asked = [(Asked(first, 3), edit) for first in (0, 1, 2, 3, 1)]
    results = []
    for at_once in (100, 2):
        seen = []

        def evaluate(configs, seen=seen):
            seen += [one.config_id for one in configs]
            scores = np.array([float(one.scale.sum()) for one in configs])
            return np.round(scores), scores

        choose = Chooser(evaluate, ones, at_once=at_once)
        chosen = [*choose.chosen(asked[:2]), *choose.chosen(asked[2:])]
        results.append([one.config_id for one in chosen])
        assert sorted(seen) == [f"c{i}" for i in range(6)]
        assert choose.evaluated == 6
    assert results[0] == results[1]
    scores = pd.Series({one.config_id: (round(float(one.scale.sum())), -float(one.scale.sum())) for one in cells})
    assert results[0] == [max((one.config_id for one in ask.cells), key=scores.get) for ask, _ in asked]


def written(layout):
    names = ("configs.parquet", "predictions.npy", "prediction_ids.json", "family_logits.npy")
    return [(layout.artifacts / name).read_bytes() for name in names]


@pytest.mark.slow
def test_a_stage_stopped_among_its_draws_goes_on_and_ends_in_the_same_bytes(tmp_path, monkeypatch):
    search = {"kinds": [], "joint": ["lin1", "lin2"], "joint_kinds": ["descriptions"], "steps": 2}
    options = {"draws": 30, "least": 5, "layer": "lin2", "arms": ["weight_norm"], "factors": [1.5], "search": search}
    params, plain = edit_bench.small_params(**options), edit_bench.write_benchmark(tmp_path / "plain", val=12, test=8)
    # So few images that no edit could be told to improve: its controls would stop at the least number.
    all_open = torch.ones(len(PROTOCOLS), dtype=torch.bool)
    monkeypatch.setattr(Bench, "open_sets", lambda bench, answers: dict.fromkeys(answers, all_open))
    edit.run(params, plain)
    stopped, add = edit_bench.write_benchmark(tmp_path / "stopped", val=12, test=8), Tally.add
    for calls in (1, 3):  # among the draws of the one layer, then among those of both
        left = iter(range(calls))

        def add_or_stop(tally, right, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            add(tally, right)

        with monkeypatch.context() as patch:
            patch.setattr(Tally, "add", add_or_stop)
            with pytest.raises(KeyboardInterrupt):
                edit.run(params, stopped)
        assert list(stopped.partial.rglob("*.safetensors"))
    edit.run(params, stopped)
    assert written(stopped) == written(plain)
    configs = pd.read_parquet(plain.artifacts / "configs.parquet")
    drawn = configs[(configs.images == "test") & configs.seed.notna()].groupby(["criterion", "arm"]).seed
    assert (drawn.max() + 1 == drawn.nunique()).all()  # the first ones, without a gap
    assert drawn.nunique().min() < 30
