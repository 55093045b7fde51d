"""Correlations against NumPy; sets against units whose best concept is known by construction."""

import numpy as np
import pytest
import torch

from emobench.functional.prediction_sets import correlations, coverage, prediction_sets


def drawn(images, seed, slopes):
    """Concept scores (images, 3) of noise, and units that are mixtures of them with noise: slopes (units, 3)."""
    generator = torch.Generator().manual_seed(seed)
    concepts = torch.randn(images, 3, generator=generator)
    return concepts @ slopes.T + torch.randn(images, len(slopes), generator=generator), concepts


SLOPES = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.25, 0.0], [0.0, 0.0, 0.0]])


def sets_of(images, seed, slopes=SLOPES):
    generator = torch.Generator().manual_seed(seed)
    return prediction_sets(*drawn(images, seed, slopes), draws=100, confidence=0.9, generator=generator)


def test_correlations_are_numpys_on_repeated_images_too() -> None:
    units, concepts = drawn(40, 0, SLOPES)
    units, weights = units + 1000, torch.randint(0, 4, (2, 40), generator=torch.Generator().manual_seed(1)).float()
    found = correlations(units, concepts, weights)
    for row, weight in zip(found, weights.int(), strict=True):
        repeated = torch.cat([units, concepts], 1).repeat_interleave(weight, 0).double().numpy()
        np.testing.assert_allclose(row, np.corrcoef(repeated.T)[:3, 3:], atol=2e-4)
    plain = np.corrcoef(torch.cat([units, concepts], 1).double().numpy().T)[:3, 3:]
    np.testing.assert_allclose(correlations(units, concepts), plain, atol=2e-4)


def test_a_clear_unit_has_one_concept_and_an_empty_one_all() -> None:
    sets = sets_of(400, 3)
    assert sets[0].tolist() == [True, False, False]
    assert sets[1, :2].all()
    constant = prediction_sets(
        torch.zeros(50, 1), torch.randn(50, 4), draws=20, confidence=0.9, generator=torch.Generator().manual_seed(0)
    )
    assert constant.all()


def test_more_images_say_more() -> None:
    few, many = (torch.stack([sets_of(images, seed)[1].sum() for seed in range(3)]).sum() for images in (60, 1500))
    assert many < few


def test_the_best_concept_is_in_the_set_as_often_as_is_said() -> None:
    """Unit 1's best concept leads by little: the case in which a set that is too small would miss it."""
    close = torch.tensor([[0.3, 0.3, 0.0], [0.2, 0.25, 0.0], [0.25, 0.28, 0.27]])
    best = torch.tensor([0, 1, 1])
    held = [coverage(sets_of(120, seed, close), best) for seed in range(20)]
    assert np.mean(held) > 0.9 - 2 * np.sqrt(0.9 * 0.1 / 60)


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="3 images and 4"):
        correlations(torch.zeros(3, 1), torch.zeros(4, 1))
    with pytest.raises(ValueError, match="confidence is 1"):
        prediction_sets(
            torch.zeros(3, 1), torch.zeros(3, 1), draws=2, confidence=1.0, generator=torch.Generator().manual_seed(0)
        )
