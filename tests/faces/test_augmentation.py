import pytest
import torch

from emobench.faces.augmentation import augment
from emobench.settings.data import Augment

NOTHING = Augment(0.0, 0.0, 0.0, 0.0, 0.0)


def changed(images: torch.Tensor, seed: int = 0, **settings: float) -> torch.Tensor:
    return augment(images, Augment(**(vars(NOTHING) | settings)), torch.Generator().manual_seed(seed))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(16, 1, 48, 48, generator=torch.Generator().manual_seed(1))


def test_nothing_asked_for_changes_nothing(images) -> None:
    assert torch.allclose(changed(images), images, atol=1e-5)


def test_mirroring_and_shares(images) -> None:
    assert torch.allclose(changed(images, flip=1.0), images.flip(3), atol=1e-5)
    some = changed(images.repeat(20, 1, 1, 1), flip=0.25)
    share = (some - images.repeat(20, 1, 1, 1)).abs().amax((1, 2, 3)).gt(0.01).float().mean().item()
    assert 0.15 < share < 0.35


def test_shifts_move_content_by_at_most_their_share() -> None:
    dot = torch.zeros(64, 1, 48, 48)
    dot[:, :, 23:25, 23:25] = 1
    moved = changed(dot, translate=0.1)
    rows = (moved.sum(3).squeeze(1) * torch.arange(48.0)).sum(1) / moved.sum((1, 2, 3))
    assert (rows - 23.5).abs().max() <= 0.1 * 48 + 0.6
    assert rows.std() > 1


def test_erasing_fills_one_rectangle_with_the_mean(images) -> None:
    erased = changed(images, erase=1.0)
    for before, after in zip(images[:, 0], erased[:, 0], strict=True):
        hole = (after - before).abs() > 1e-4
        rows, columns = hole.any(1).nonzero(), hole.any(0).nonzero()
        height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert 0.05 * 48 < height <= 0.4 * 48 + 1
        assert hole.sum() > 0.9 * height * width
        assert torch.allclose(after[hole], before.mean().expand(int(hole.sum())), atol=1e-5)


def test_same_generator_same_result_and_values_stay_in_range(images) -> None:
    settings = {"degrees": 30.0, "translate": 0.1, "scale": 0.2, "flip": 0.5, "erase": 0.5}
    first, second, third = (changed(images, seed, **settings) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert first.min() >= 0
    assert first.max() <= 1.0001


def test_every_channel_of_a_picture_is_moved_alike(images) -> None:
    settings = {"degrees": 30.0, "translate": 0.1, "scale": 0.2, "flip": 0.5}
    colour = torch.cat([images, 1 - images, images / 2], dim=1)
    moved, grey = changed(colour, **settings), changed(images, **settings)
    assert moved.shape == (16, 3, 48, 48)
    torch.testing.assert_close(moved[:, :1], grey)
    torch.testing.assert_close(moved[:, 1:2], 1 - grey)
    torch.testing.assert_close(moved[:, 2:], grey / 2)


def test_erasing_takes_the_same_rectangle_of_every_channel_and_its_mean_colour(images) -> None:
    colour = torch.cat([images, 1 - images, images / 2], dim=1)
    erased = changed(colour, erase=1.0)
    for before, after in zip(colour, erased, strict=True):
        hole = (after - before).abs().amax(0) > 1e-4
        assert hole.any()
        for channel in range(3):
            assert torch.allclose(after[channel][hole], before[channel].mean().expand(int(hole.sum())), atol=1e-5)
