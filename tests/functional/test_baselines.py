"""Baselines against loops and NumPy, on units whose make-up is known."""

import numpy as np
import pytest
import torch

from emobench.functional.baselines import diff_means, directed, explained, like_units, sparse_explanations


@pytest.fixture
def drawn():
    """Six concepts, and units made of one, of two, of none of them."""
    generator = torch.Generator().manual_seed(0)
    concepts = torch.rand(500, 6, generator=generator)
    noise = torch.randn(500, 3, generator=generator)
    made = torch.stack([5 * concepts[:, 2], 4 * concepts[:, 1] - 3 * concepts[:, 5], 0 * concepts[:, 0]], 1)
    return made + 0.3 * noise, concepts


def test_directions_are_differences_of_means(drawn) -> None:
    units, concepts = drawn
    present, absent = concepts >= 0.8, concepts <= 0.5
    found = diff_means(units, present, absent)
    scaled = (units - units.mean(0)) / units.std(0)
    for concept in range(6):
        direction = scaled[present[:, concept]].mean(0) - scaled[absent[:, concept]].mean(0)
        torch.testing.assert_close(found[:, concept], direction / direction.norm())
    assert found[:, 2].argmax() == 0
    torch.testing.assert_close(directed(units, found, units), scaled @ found)
    assert not diff_means(units, present & False, absent).any()
    still = torch.cat([units, torch.ones(500, 1)], 1)
    assert not diff_means(still, present, absent)[3].any()
    assert directed(still, torch.ones(4, 1), still).isfinite().all()


def test_sparse_explanations_find_what_units_are_made_of(drawn) -> None:
    units, concepts = drawn
    found = sparse_explanations(units, concepts, 2)
    assert (found != 0).sum(1).max() <= 2
    assert found[0].abs().argmax() == 2
    assert set(found[1].nonzero()[:, 0].tolist()) == {1, 5}
    scaled = [np.asarray((values - values.mean(0)) / values.std(0), float) for values in (units, concepts)]
    expected = np.linalg.lstsq(scaled[1][:, [1, 5]], scaled[0][:, 1], rcond=None)[0]
    np.testing.assert_allclose(found[1, [1, 5]], expected, atol=1e-4)


def test_one_concept_is_the_one_that_correlates_most(drawn) -> None:
    units, concepts = drawn
    single = sparse_explanations(units, concepts, 1)
    correlation = np.corrcoef(torch.cat([units, concepts], 1).numpy().T)[:3, 3:]
    assert (single != 0).sum(1).tolist() == [1, 1, 1]
    best = np.abs(correlation).argmax(1)
    np.testing.assert_array_equal(single.abs().argmax(1), best)
    np.testing.assert_allclose(single.sum(1), correlation[range(3), best], atol=1e-5)
    np.testing.assert_allclose(explained(single, units, concepts), np.abs(correlation).max(1), atol=1e-5)
    two = explained(sparse_explanations(units, concepts, 2), units, concepts)
    assert two[1] > np.abs(correlation[1]).max() + 0.1


def test_like_units_are_others_of_the_same_kind() -> None:
    generator = torch.Generator().manual_seed(3)
    low, high = torch.randn(200, 4, generator=generator), 9 + 4 * torch.randn(200, 4, generator=generator)
    found = like_units(torch.cat([low, high], 1), nearest=3, generator=generator)
    assert (found[:4] < 4).all()
    assert (found[4:] >= 4).all()
    assert (found != torch.arange(8)).all()
    with pytest.raises(ValueError, match="a layer of 1 units"):
        like_units(low[:, :1], nearest=3, generator=generator)
