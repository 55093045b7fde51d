"""Responses and specificity against plain loops, and against units that are built to know one concept."""

import pytest
import torch

from emobench.functional.causal import STILL, own_rank, responses, specificity


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(0)
    response = torch.randn(7, 5, generator=generator)
    moved = torch.eye(5) + 0.4 * (torch.rand(5, 5, generator=generator) < 0.3)
    return response, moved


def test_responses_are_paired_changes_in_standard_deviations() -> None:
    generator = torch.Generator().manual_seed(1)
    without, shown = (torch.randn(3, 10, 4, generator=generator) for _ in range(2))
    ordinary = torch.randn(50, 4, generator=generator) * torch.tensor([1.0, 2.0, 0.5, 0.0])
    found = responses(without, shown, ordinary)
    assert found.shape == (4, 3)
    for unit in range(3):
        for concept in range(3):
            change = sum((shown - without)[concept, :, unit].tolist()) / 10
            assert found[unit, concept] == pytest.approx(change / ordinary[:, unit].std(correction=0).item(), abs=1e-5)
    assert found[3].tolist() == [0, 0, 0]


def test_specificity_and_rank_are_their_formulas(drawn) -> None:
    response, moved = drawn
    shares, ranks = specificity(response, moved), own_rank(response, moved)
    for unit in range(7):
        for own in range(5):
            others = [k for k in range(5) if k != own and abs(moved[k, own]) < STILL]
            value = max(response[unit, own].item(), 0) ** 2
            total = response[unit, own].item() ** 2 + sum(response[unit, k].item() ** 2 for k in others)
            assert shares[unit, own] == pytest.approx(value / total, abs=1e-6)
            better = [k for k in others if response[unit, k] >= response[unit, own]]
            assert ranks[unit, own] == 1 + len(better)


def test_a_detector_has_1_and_its_opposite_0() -> None:
    detector = torch.zeros(3, 4)
    detector[0, 2], detector[1, 2] = 5.0, -5.0
    shares = specificity(detector, torch.eye(4))
    assert (shares[0, 2], shares[1, 2]) == (1, 0)
    assert shares[2].isnan().all()


def test_a_part_of_a_concept_does_not_speak_against_it() -> None:
    moved = torch.eye(3)
    moved[1, 0] = 0.7  # moving 1 moves 0 along, not the other way round
    response = torch.tensor([[2.0, 2.0, 0.0]])
    assert specificity(response, moved).tolist() == [[1.0, 0.5, 0.0]]
    assert own_rank(response, moved).tolist() == [[1, 2, 3]]


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 4\), \(2, 3, 5\)"):
        responses(torch.zeros(2, 3, 4), torch.zeros(2, 3, 5), torch.zeros(9, 4))
