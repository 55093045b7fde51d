import pandas as pd
import pytest
from reporting.small_results import small_params, write_results

from emobench.reporting.figures.edits import confusion_matrices
from emobench.reporting.published import GRID, PUBLISHED_ACCURACY, improving, published_matrices, published_replay
from emobench.reporting.results import Results


@pytest.fixture(scope="module")
def replay():
    return published_replay()


def test_every_edit_of_the_grid_is_there_once(replay):
    assert len(replay) == 60
    assert sorted(set(replay["factor"])) == [1.5, 2.0, 2.5, 3.0, 3.5]
    assert sorted(set(replay["tau"])) == [-1 + step / 4 for step in range(12)]


def test_golden_values_of_the_published_grid(replay):
    cells = replay.set_index(["tau", "factor"])
    paper, best = cells.loc[(0.0, 1.5)], cells.loc[(-0.5, 1.5)]
    assert paper["right"] == 4998
    assert paper["delta_points"] == pytest.approx(100 * 15 / 7178)
    assert (paper["fewest_gains"], paper["fewest_losses"]) == (48, 33)
    assert round(paper["min_mcnemar_p"], 3) == 0.119
    assert round(best["min_mcnemar_p"], 3) == 0.082
    assert paper["delta_nll"] == pytest.approx(0.446, abs=0.001)


def test_the_published_matrices_are_of_the_accuracies_that_were_published():
    before, after = published_matrices()
    assert before.sum() == after.sum() == 7178
    assert (before.trace(), after.trace()) == (4983, 4998)
    assert (before.sum(1) == after.sum(1)).all()


@pytest.mark.parametrize("published", [None, PUBLISHED_ACCURACY])
def test_the_published_matrix_stands_beside_those_that_it_can_be_compared_with(tmp_path, monkeypatch, published):
    params = small_params()
    monkeypatch.setattr(Results, "published", published)
    pictures = {
        picture.name: picture for picture in confusion_matrices(Results(params, write_results(tmp_path, params)))
    }
    assert {"confusion_baseline", "confusion_paper"} <= pictures.keys()
    assert ("confusion_published" in pictures) == (published is not None)
    if published is not None:
        caption = pictures["confusion_published"].caption
        assert caption.startswith(
            "Edit as published: 4,998 of 7,178 val and test images right, +15 against the baseline."
        )


def test_no_improvement_of_the_grid_could_reach_the_level(replay):
    best = improving(replay)
    assert len(best) == 29
    assert (best["right"] > 4983).all()
    assert best["min_mcnemar_p"].is_monotonic_increasing
    assert best["min_mcnemar_p"].iloc[0] > 0.08
    assert (replay["delta_nll"] > 0).all()
    # Some that harm could: the test is not blind.
    assert replay["min_mcnemar_p"].min() < 0.001


@pytest.mark.parametrize(
    ("column", "message"), [("n_correct", "n_correct is not the diagonal"), ("cm_Angry_Fear", "of other images")]
)
def test_a_grid_that_contradicts_itself_is_refused(tmp_path, column, message):
    grid = pd.read_csv(GRID)
    grid.loc[grid["factor"] == 2.5, column] += 1
    grid.to_csv(tmp_path / "grid.csv", index=False)
    with pytest.raises(ValueError, match=message):
        published_replay(tmp_path / "grid.csv")
