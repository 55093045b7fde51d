import pytest
import torch

from emobench.functional.planting import KINDS, damaged_rows, found_share, restoring_scale


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.randn(12, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_named_rows_are_damaged_and_the_weight_stays(weight, kind) -> None:
    units, before = torch.tensor([2, 7]), weight.clone()
    damaged = damaged_rows(weight, units, kind, generator=torch.Generator().manual_seed(1))
    assert torch.equal(weight, before)
    changed = (damaged != weight).any(1)
    assert changed.nonzero().flatten().tolist() == [2, 7]
    scale = restoring_scale(12, units, kind)
    if scale is None:
        norms = weight.norm(dim=1)
        norms[units] *= {"noise": 1, "loud": 10}[kind]
        assert torch.allclose(damaged.norm(dim=1), norms)
        again = damaged_rows(weight, units, kind, generator=torch.Generator().manual_seed(1))
        assert torch.equal(damaged, again)
    else:
        assert torch.allclose(damaged * scale[:, None], weight)
        assert (scale != 1).nonzero().flatten().tolist() == [2, 7]


def test_what_was_found_beside_what_was_moved_for_nothing() -> None:
    scale, units = torch.tensor([2.0, 0.5, 1.0, 3.0]), torch.tensor([0, 1])
    assert found_share(scale, units, "third") == (0.5, 0.5)
    assert found_share(scale, units, "negated") == (0.5, 0.0)
    assert found_share(restoring_scale(4, units, "third"), units, "third") == (1.0, 0.0)
    assert found_share(restoring_scale(4, units, "negated"), units, "negated") == (1.0, 0.0)


def test_an_unknown_kind(weight) -> None:
    with pytest.raises(
        ValueError, match="kind of damage is 'half'; expected one of third, negated, reversed, noise, loud"
    ):
        damaged_rows(weight, torch.tensor([0]), "half", generator=torch.Generator())
    with pytest.raises(ValueError, match="kind of damage"):
        restoring_scale(3, torch.tensor([0]), "half")
    with pytest.raises(ValueError, match="kind of damage"):
        found_share(torch.ones(3), torch.tensor([0]), "half")
