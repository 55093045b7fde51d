import math

import pytest
import torch

from emobench.functional.interpretability import (
    class_membership,
    describe,
    label_accuracy,
    label_chance,
    layer_summary,
)


def test_describe_takes_the_first_of_equal_concepts() -> None:
    found = describe(torch.tensor([[0.5, 0.9, 0.9], [0.3, 0.3, 0.3], [2.0, -1.0, 0.0]]))
    assert found.best.tolist() == [1, 0, 0]
    assert found.runner_up.tolist() == [2, 1, 2]
    assert found.margin.tolist() == pytest.approx([0, 0, 2])
    with pytest.raises(ValueError, match=r"shape \(2, 1\); expected \(units, at least 2 concepts\)"):
        describe(torch.ones(2, 1))
    with pytest.raises(ValueError, match="similarity has NaN"):
        describe(torch.full((1, 2), torch.nan))


def test_label_accuracy_is_the_papers_share() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (40,), generator=generator)
    top = torch.randint(0, 40, (5, 6), generator=generator)
    membership = torch.tensor([[True, False, False], [False, True, True], [False, False, False]])
    best = torch.tensor([0, 1, 2, 1, 0, 1])
    accuracy = label_accuracy(top, labels, membership, best)
    for unit in range(6):
        classes = [index for index in range(3) if membership[best[unit], index]]
        hits = sum(int(labels[image]) in classes for image in top[:, unit])
        assert accuracy[unit].item() == pytest.approx(hits / 5) if classes else math.isnan(accuracy[unit])
    chance = label_chance(labels, membership)
    assert chance[1].item() == pytest.approx((labels != 0).float().mean().item())
    assert math.isnan(chance[2])


def test_chance_is_what_random_images_score() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 4, (1000,), generator=generator)
    membership = class_membership(["a", "b"], {"a": ["x"], "b": ["x", "z"]}, ["x", "y", "z", "w"])
    best = torch.tensor([0, 1]).repeat(4000)
    top = torch.randint(0, 1000, (5, 8000), generator=generator)
    accuracy = label_accuracy(top, labels, membership, best)
    chance = label_chance(labels, membership)
    assert accuracy[best == 0].mean().item() == pytest.approx(chance[0].item(), abs=0.02)
    assert accuracy[best == 1].mean().item() == pytest.approx(chance[1].item(), abs=0.02)


def test_layer_summary_is_a_row_of_table_1() -> None:
    similarity = torch.tensor([0.2, -0.1, 0.0, 1.0])
    row = layer_summary(similarity, torch.tensor([1.0, 0.2, 0.4, 0.6]), torch.tensor([0.5, 0.5, 0.25, 0.25]), tau=0.0)
    assert (row["num_units"], row["num_interp"], row["num_uninterp"], row["prop_interp"]) == (4, 2, 2, 0.5)
    assert row["interp_acc"] == pytest.approx(0.8)
    assert row["uninterp_acc"] == pytest.approx(0.3)
    assert row["lift"] == pytest.approx(0.55 / 0.375)
    assert math.isnan(layer_summary(similarity, torch.ones(4), torch.ones(4), tau=-1)["uninterp_acc"])
