import numpy as np
import pytest

from emobench.concepts.ranking import MIN_POSITIVES, rank_concepts


def auroc_by_pairs(positive, negative):
    wins = sum((a > b) + 0.5 * (a == b) for a in positive for b in negative)
    return wins / (len(positive) * len(negative))


def test_auroc_is_the_share_of_rightly_ordered_pairs_of_clear_images():
    rng = np.random.default_rng(0)
    scores = rng.random((400, 1))
    cosines = np.round(scores + rng.normal(0, 0.4, scores.shape), 1)
    table = rank_concepts(cosines, scores, ["smile"])
    positive, negative = scores[:, 0] >= 0.8, scores[:, 0] <= 0.5
    row = table.iloc[0]
    assert (row["concept"], row["positives"], row["negatives"]) == ("smile", positive.sum(), negative.sum())
    assert row["auroc"] == pytest.approx(auroc_by_pairs(cosines[positive, 0], cosines[negative, 0]))
    assert row["note"] == ""


def test_what_cannot_be_judged_is_left_out_and_says_why():
    scores = np.zeros((100, 4))
    scores[: MIN_POSITIVES - 1, 0] = 1
    scores[:, 1] = np.nan
    scores[:, 2] = 0.9
    scores[:MIN_POSITIVES, 3] = 1
    table = rank_concepts(np.random.default_rng(0).random((100, 4)), scores)
    assert table["note"].tolist() == ["fewer than 50 positives", "not measured", "no negatives", ""]
    assert table["auroc"].notna().tolist() == [False, False, False, True]
    assert table["positives"].tolist() == [49, 0, 100, 50]
