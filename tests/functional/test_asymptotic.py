import itertools
import math

import numpy as np
import pytest
import torch

from emobench.functional.similarity.asymptotic import (
    Asymptotic,
    correlated_normals,
    cosine_null,
    cosine_units,
    reorder_null,
    reorder_units,
)  # fmt: skip
from emobench.functional.similarity.nulls import random_top_images
from emobench.functional.similarity.reordering import reorder_scores
from emobench.functional.similarity.scores import MIN_NORM, cos_similarity, cos_similarity_cubed

DRAWS = 20_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def related_columns(images: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    """Bounded columns that have half of their variance in common."""
    return torch.rand(images, columns, generator=generator) + torch.rand(images, 1, generator=generator) - 1


@pytest.mark.parametrize(("draws", "units"), [(512, 1), (1300, 11)])
def test_the_compiled_best_is_plain_torch(draws: int, units: int) -> None:
    # Quarters and their products are exact in float32, so that equal values count on both sides.
    still, moving = (torch.randint(-8, 8, (draws, 5), generator=seeded(seed)) / 4 for seed in (0, 1))
    first, second, observed = (torch.randint(-8, 8, (units,), generator=seeded(seed)) / 4 for seed in (2, 3, 4))
    first[0] = second[0] = observed[0] = 0
    values = (first[:, None, None] * still + second[:, None, None] * moving).amax(dim=2)
    found = Asymptotic(still, moving).best(first, second, observed)
    assert found.exceeding.tolist() == (values >= observed[:, None]).sum(dim=1).tolist()
    assert found.mean.tolist() == pytest.approx(values.double().mean(dim=1).tolist(), abs=1e-5)
    assert found.sd.tolist() == pytest.approx(values.double().std(dim=1).tolist(), abs=1e-5)
    assert (found.p_values()[0], found.mean[0], found.sd[0]) == (1, 0, 0)
    assert found.sample.tolist() == [values[draw % units, draw].item() for draw in range(draws)]
    assert (found.draws, found.best.sum().item()) == (draws, pytest.approx(1))


def assert_simulated(null: Asymptotic, first: torch.Tensor, second: torch.Tensor, simulated: torch.Tensor) -> None:
    """Mean, sd and p-values against best similarities (orders, units) in random orders, at 1.3 sd above the mean."""
    orders, (mean, sd) = len(simulated), (simulated.mean(dim=0), simulated.std(dim=0))
    observed = mean + 1.3 * sd
    found = null.best(first, second, observed)
    assert ((found.mean - mean).abs() < 0.05 * sd + 5 * sd / math.sqrt(orders)).all()
    assert ((found.sd / sd - 1).abs() < 0.1).all()
    expected = (simulated >= observed).double().mean(dim=0)
    assert ((found.p_values() - expected).abs() < 0.025).all()


@pytest.mark.parametrize("cubed", [False, True])
def test_cosine_null_is_that_of_random_orders(cubed: bool) -> None:
    function, floor = (cos_similarity_cubed, MIN_NORM) if cubed else (cos_similarity, 0.0)
    generator = seeded()
    scores = related_columns(500, 6, generator) * torch.tensor([1, 0.5, 1, 1, 1, 0.2]) + 0.1
    activations = torch.rand(500, 3, generator=generator) + torch.tensor([-0.5, 0.3, -3])
    activations[:, 0] *= 0.05  # whose cubes fall below the floor
    orders = torch.rand(500, 3000, generator=generator).argsort(dim=0)
    best = [function(scores, unit[orders]).amax(dim=1) for unit in activations.T]

    def vectors(values: torch.Tensor) -> torch.Tensor:
        return (values - values.mean(dim=0)).pow(3) if cubed else values

    assert not cubed or vectors(activations)[:, 0].norm() < MIN_NORM / 2
    null = cosine_null(vectors(scores), DRAWS, generator, floor)
    assert_simulated(null, *cosine_units(vectors(activations), floor), torch.stack(best, dim=1))


def test_the_smallest_norm_and_zeros_in_cosine_units() -> None:
    vectors = torch.tensor([[3.0, 0.3, 0.0, 2.0], [4.0, 0.4, 0.0, 2.0]])
    first, second = cosine_units(vectors, 1.0)
    # Two images with mean m and difference d: sqrt(2) m and d / sqrt(2), over 5, the floor of 1, 1, and 2 sqrt(2).
    assert first.tolist() == pytest.approx([0.7 * math.sqrt(2), 0.35 * math.sqrt(2), 0, 1])
    assert second.tolist() == pytest.approx([0.1 * math.sqrt(2), 0.1 / math.sqrt(2), 0, 0], abs=1e-6)
    null = cosine_null(vectors, 4, seeded())
    assert (null.still[:, 2] == 0).all()
    assert (null.moving[:, 2] == 0).all()


def test_correlated_normals_are_correlated_as_the_columns() -> None:
    columns = related_columns(701, 5, seeded())
    columns[:, 1] = 0.3  # whose mean isn't 0.3 in float32
    columns[:, 2] = -2 * columns[:, 0]
    drawn = correlated_normals(columns, DRAWS, seeded(1))
    assert (drawn[:, 1] == 0).all()
    moving = [0, 2, 3, 4]
    expected = np.corrcoef(columns[:, moving].numpy(), rowvar=False)
    np.testing.assert_allclose(np.cov(drawn[:, moving].numpy(), rowvar=False), expected, atol=0.04)
    np.testing.assert_allclose(drawn[:, 0], -drawn[:, 2], atol=1e-4)


def descending(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, generator=seeded(seed)).sort(dim=0, descending=True).values


@pytest.mark.parametrize("p", [1, 2, 3])
def test_reorder_units_know_all_orders(p: int) -> None:
    values = descending(6)
    values[1:4, 1] = values[2, 1]
    columns, orders = values.double().numpy(), itertools.permutations(range(6))
    errors = np.array([(np.abs(columns - columns[list(order)]) ** p).mean(axis=0) for order in orders])
    first, second = reorder_units(values, torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64), p)
    np.testing.assert_allclose(first, errors.mean(axis=0) / [0.5, 1, 2], rtol=1e-5)
    np.testing.assert_allclose(second, errors.std(axis=0) / [0.5, 1, 2], rtol=1e-5)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_reorder_units_know_all_pairs(p: int) -> None:
    values = descending(40) + 100
    first, second = reorder_units(values, torch.ones(3, dtype=torch.float64), p)
    for unit, column in enumerate(values.double().numpy().T):
        table = np.abs(column[:, None] - column) ** p
        doubly = table - table.mean(axis=0) - table.mean(axis=1)[:, None] + table.mean()
        assert first[unit].item() == pytest.approx(table.mean(), rel=1e-4)
        assert second[unit].item() == pytest.approx(math.sqrt((doubly**2).sum() / 39) / 40, rel=1e-4)
    rng = np.random.default_rng(0)
    drawn = [np.mean(np.abs(column - rng.permutation(column)) ** p) for _ in range(4000)]
    assert first[-1].item() == pytest.approx(np.mean(drawn), abs=5 * np.std(drawn) / math.sqrt(4000))
    assert second[-1].item() == pytest.approx(np.std(drawn), rel=0.06)


def test_reorder_units_of_equal_activations() -> None:
    for count in (1, 5):
        first, second = reorder_units(torch.full((count, 2), 0.3), torch.zeros(2, dtype=torch.float64), 3)
        assert first.tolist() == [1, 1]
        assert second.tolist() == [0, 0]


def simulated_reorder(scores: torch.Tensor, values: torch.Tensor, baseline: float, p: int) -> torch.Tensor:
    """The best similarity of 4000 units with these top activations (k, 1), on random images."""
    top = random_top_images(len(scores), len(values), 4000, seeded(7))
    units = values.expand(-1, 4000).contiguous(), torch.full((4000,), baseline, dtype=torch.float64)
    return reorder_scores(scores, top, *units, p, 0.5).amax(dim=1, keepdim=True)


def test_reorder_null_is_that_of_random_images() -> None:
    scores, values = 0.3 + 0.1 * torch.randn(600, 5, generator=seeded()), descending(60)[:, :1]
    numbers = reorder_units(values, torch.ones(1, dtype=torch.float64), 2)
    null = reorder_null(scores, 60, 0.5, DRAWS, seeded(1))
    assert_simulated(null, *numbers, simulated_reorder(scores, values, 1.0, 2))
    # Without the order only the mean scores of random images are left, here of half of all.
    top = random_top_images(600, 300, 3000, seeded(2))
    means = scores[top].mean(dim=0)
    without_order = torch.ones(1), torch.zeros(1), -means.pow(-0.5).amin(dim=1, keepdim=True)
    assert_simulated(reorder_null(scores, 300, 0.5, DRAWS, seeded(3)), *without_order)


def test_reorder_null_is_cautious_where_concepts_are_alike() -> None:
    common = 0.3 + 0.1 * torch.randn(600, 1, generator=seeded())
    scores = common + 0.002 * torch.randn(600, 5, generator=seeded(1))
    values = descending(60)[:, :1]
    simulated = simulated_reorder(scores, values, 1.0, 2)
    observed = simulated.quantile(0.95).reshape(1)
    numbers = reorder_units(values, torch.ones(1, dtype=torch.float64), 2)
    found = reorder_null(scores, 60, 0.5, DRAWS, seeded(1)).best(*numbers, observed)
    assert 0.08 < found.p_values()[0] < 0.3
    assert found.mean > simulated.mean()


def test_a_concept_with_a_mean_score_below_zero_is_never_the_best() -> None:
    scores = torch.stack([torch.full((200,), -0.2), torch.linspace(0.1, 0.3, 200)], dim=1)
    null = reorder_null(scores, 20, 0.5, 1000, seeded())
    found = null.best(torch.ones(2), torch.tensor([0.1, 0.0]), torch.tensor([-2.2, -2.2]))
    assert found.best.tolist() == [0, 1]
    assert found.mean.tolist() == pytest.approx([-(0.2**-0.5)] * 2, rel=0.02)
    assert found.sd.isfinite().all()


def test_draws_without_a_concept_of_positive_mean_are_left_out() -> None:
    still = torch.tensor([[-1e30, -1.0], [-1e30, -1e30], [-3.0, -2.0], [-1e30, -1e30]])
    found = Asymptotic(still, torch.zeros(4, 2)).best(torch.ones(2), torch.ones(2), torch.tensor([-1.5, -torch.inf]))
    assert found.exceeding.tolist() == [1, 4]
    assert found.mean.tolist() == [-1.5, -1.5]
    assert found.sd.tolist() == pytest.approx([math.sqrt(0.5)] * 2)
    assert found.sample.tolist() == [-1, -2]
