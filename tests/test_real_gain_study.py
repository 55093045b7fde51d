"""The study's tables from searches that are written by hand, and one search of a tiny benchmark against plain loops."""

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import edit_bench
import numpy as np
import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))
import real_gain
from real_gain_searches import SEARCHES, Bench
from real_gain_tables import false_gains, sentence, summary, write_summary

from emobench.edits.power import level
from emobench.errors import UserError
from emobench.files import write_json
from emobench.functional.edits import edited_state
from emobench.functional.paired import holm
from emobench.functional.power import smallest_gain

OPTIONS = {"folds": 2, "steps": 2, "batch_size": 16}


def found(search, protocol, images, gains, losses, p):
    points = 100 * (gains - losses) / images
    row = {"search": search, "protocol": protocol, "images": images, "gains": gains, "losses": losses, "p": p}
    row |= {"points": points, "low": points - 1, "high": points + 1, "scales": 7, "chosen": "penalty1"}
    return row | {"accuracy_before": 0.5, "accuracy": 0.5 + points / 100, "fits": 5, "cpu_seconds": 1.5}


ROWS = pd.DataFrame(
    [
        found("a", "cross_fitted", 400, 40, 10, 0.0001),
        found("a", "test", 200, 12, 10, 0.8),
        found("b", "cross_fitted", 400, 3, 1, 0.6),
        found("b", "test", 200, 1, 25, 0.0001),
    ]
)


def test_each_protocol_is_a_family_of_its_own():
    table = summary(ROWS).set_index(["protocol", "search"])
    assert table.loc["cross_fitted", "holm_p"].tolist() == holm([0.0001, 0.6])
    assert table["told"].to_dict() == {
        ("cross_fitted", "a"): "gain",
        ("cross_fitted", "b"): "no evidence",
        ("test", "a"): "no evidence",
        ("test", "b"): "loss",
    }
    wanted = smallest_gain(22, alpha=level(2))
    assert table.loc[("test", "a"), "detectable"] == wanted
    assert table.loc[("test", "a"), "detectable_points"] == wanted / 2
    assert np.isnan(table.loc[("cross_fitted", "b"), "detectable"])


def test_the_sentence_says_what_was_found_and_what_is_excluded():
    first, second = sentence(summary(ROWS), "tiny").split("\n")
    assert first.startswith(
        "tiny, by folds of val and test (400 images): 1 of 2 searches gain; the best: a +7.50 points"
    )
    assert "none of 2 searches gains; the best: a +1.00 points, +12 -10, p 0.8, Holm's 0.8; the highest end" in second
    assert "interval is +2.00, and a true gain of" in second
    blind = sentence(summary(ROWS.iloc[[2]]), "tiny")
    assert blind.endswith("1 change too few answers for any gain to be found.")
    assert "a true gain" not in blind


def test_false_gains_are_counted():
    nulls = pd.DataFrame({"search": "a", "draw": range(4), "p": [0.01, 0.02, 0.5, 1.0], "gains": [9, 1, 5, 0],
                          "losses": [1, 9, 5, 0]})  # fmt: skip
    (row,) = false_gains(nulls).to_dict("records")
    assert (row["draws"], row["gain"], row["told"], row["gain_share"]) == (4, 1, 2, 0.25)
    assert row["gain_low"] == pytest.approx(1 - 0.975 ** (1 / 4))


def test_the_same_rows_give_the_same_files(tmp_path):
    with pytest.raises(UserError, match="run: python studies/real_gain.py run"):
        write_summary(tmp_path)
    ROWS.to_csv(tmp_path / "searches.csv", index=False)
    write_json(tmp_path / "settings.json", {"benchmark": "tiny"})
    said = write_summary(tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {"summary.csv", "searches.svg", "README.md"} < set(first)
    assert write_summary(tmp_path) == said
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    layout = edit_bench.write_benchmark(tmp_path_factory.mktemp("gain"), train=20, val=40, test=50)
    return Bench(edit_bench.small_params(layer="lin2"), layout)


def test_a_search_answers_by_folds_and_on_test(bench):
    settings = real_gain.settings_of(bench, **OPTIONS)
    rows = real_gain.judged(bench, "edited-interpretable", SEARCHES["edited-interpretable"], settings)
    (way,) = bench.ways(SEARCHES["edited-interpretable"])
    every, alone = real_gain.folds_of(bench, settings)
    assert (alone[~bench.val] == -1).all()
    assert sorted(set(alone[bench.val])) == sorted(set(every)) == [0, 1]
    labels, answers = bench.labels.numpy(), np.full(len(every), -1)
    state, inputs = bench.network.model.state_dict(), bench.network.inputs(bench.imageset.images[bench.rows])

    def edited(fitted):
        """Logits of all images, by weights that were edited."""
        scale = real_gain.FoldSearch([way], bench.labels, settings.descent)._scales(way, fitted, set())["lin2"]
        model = type(bench.network.model)(width=0.0625).eval()
        model.load_state_dict(edited_state(state, "lin2.weight", scale))
        with torch.no_grad():
            return model(inputs).argmax(1).numpy()

    for fold in (0, 1):
        answers[every == fold] = edited(np.where(every == fold, -1, 0))[every == fold]
    with torch.no_grad():
        before = bench.network.model(inputs).argmax(1).numpy()
    test = ~bench.val
    wanted = [real_gain.counts(labels, before, answers),
              real_gain.counts(labels[test], before[test], edited(np.where(bench.val, 0, -1))[test])]  # fmt: skip
    for row, expected in zip(rows, wanted, strict=True):
        assert {name: row[name] for name in expected} == expected
    assert [row["protocol"] for row in rows] == ["cross_fitted", "test"]
    assert {row["fits"] for row in rows} == {3}
    assert {row["scales"] for row in rows} == {2}
    (null,) = real_gain.null_rows(bench, "edited-interpretable", settings, range(1))
    assert null["images"] == len(labels)


def test_results_of_other_settings_are_not_added_to(bench, tmp_path):
    settings = real_gain.settings_of(bench, **OPTIONS)
    assert real_gain.noted(real_gain.noted(settings, tmp_path), tmp_path) is settings
    few = dataclasses.replace(bench, images=20)
    assert (len(few.rows), round(few.val.sum())) == (20, 9)
    assert set(few.rows) < set(bench.rows)
    with pytest.raises(UserError, match=f"steps 2, now 3; images {len(bench.rows)}, now 20; take it away"):
        real_gain.noted(real_gain.settings_of(few, **(OPTIONS | {"steps": 3})), tmp_path)


def test_what_it_costs_is_told_before(bench, monkeypatch, capsys):
    monkeypatch.setattr(real_gain, "image_seconds", lambda *given: (0.06, 0.03))
    settings = real_gain.settings_of(bench, folds=4, steps=10, batch_size=20)
    real_gain.tell_cost(bench, ("all-descriptions", "edited-free-range"), settings)
    first, second = capsys.readouterr().out.splitlines()
    images, begun = len(bench.rows), min(80, len(bench.rows))
    one = 5 * (10 * 20 * 0.06 + (begun + images / 4) * 0.03) / 60
    assert (
        first
        == f"all-descriptions: 5 fits, 60.00 CPU ms an image and step, 30.00 an answer: about {one:.1f} CPU minutes"
    )
    several = 35 * (10 * 20 * 0.06 + (begun + 2 * images / 4) * 0.03) / 60
    assert second.startswith("edited-free-range: 35 fits")
    assert f"about {several:.1f} CPU" in second


def test_what_no_training_tells_of_is_left_out(bench):
    given = SimpleNamespace(source="weights")
    own = Bench(SimpleNamespace(**(vars(bench.params) | {"network": given})), bench.layout)
    assert own.augment == bench.params.clip.training.augment != bench.augment
    neither = Bench(SimpleNamespace(**(vars(own.params) | {"clip": given})), bench.layout)
    with pytest.raises(UserError, match="neither network nor CLIP was trained here"):
        next(neither.ways(SEARCHES["edited-free-augment"]))
