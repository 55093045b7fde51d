import math

import pytest
import torch
from sklearn.cluster import KMeans

from emobench.functional.coherence import clarity, coherence, polysemanticity, redundancy


def unit_vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    one, other = one.tolist(), other.tolist()
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def around(direction: torch.Tensor, count: int, spread: float, seed: int = 0) -> torch.Tensor:
    """Unit vectors (count, dim) near a direction."""
    return torch.nn.functional.normalize(direction + spread * unit_vectors(count, len(direction), seed=seed), dim=1)


@pytest.mark.parametrize("count", [2, 7])
def test_clarity_is_the_mean_over_pairs_of_different_images(count: int) -> None:
    vectors = unit_vectors(4, count, 5)
    found = clarity(vectors)
    for unit, images in enumerate(vectors):
        pairs = [cosine(images[i], images[j]) for i in range(count) for j in range(count) if i != j]
        assert found[unit].item() == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
    with pytest.raises(ValueError, match="top images: expected at least 2 a unit; got 1"):
        clarity(vectors[:, :1])


def test_claritys_expectation_does_not_depend_on_the_number_of_images() -> None:
    embeddings = torch.nn.functional.normalize(unit_vectors(500, 8) + 0.8 * torch.eye(8)[0], dim=1)
    generator = torch.Generator().manual_seed(1)
    means, errors = [], []
    for count in (2, 5, 40):
        found = clarity(embeddings[torch.randint(500, (3000, count), generator=generator)])
        means.append(found.mean().item())
        errors.append(found.std().item() / math.sqrt(3000))
    expected = embeddings.mean(dim=0).square().sum().item()
    assert all(abs(mean - expected) < 4 * error for mean, error in zip(means, errors, strict=True))
    assert max(errors) < 0.02 < expected


def test_polysemanticity_of_one_and_of_two_clusters() -> None:
    first, second = torch.eye(16)[:2]
    one = around(first, 20, 0.1)
    two = torch.cat([around(first, 15, 0.1), around(second, 5, 0.1, seed=1)])
    related = torch.cat([around(first, 10, 0.1), around(first + 0.6 * second, 10, 0.1, seed=1)])
    found = polysemanticity(torch.stack([one, two, related]))
    assert found[0] < 0.02
    assert found[1] == pytest.approx(1, abs=0.05)
    assert found[0] < found[2] < found[1]


def test_polysemanticity_is_that_of_two_means() -> None:
    for seed in range(5):
        middles = unit_vectors(2, 12, seed=seed)
        images = torch.cat([around(middle, 8, 0.5, seed=seed + 10 * k) for k, middle in enumerate(middles)])
        centres = KMeans(2, n_init=5, random_state=0).fit(images.numpy()).cluster_centers_
        expected = 1 - cosine(*map(torch.from_numpy, centres))
        assert polysemanticity(images[None]).item() == pytest.approx(expected, abs=1e-5)


def test_polysemanticity_of_the_same_image_is_zero() -> None:
    same = unit_vectors(50, 1, 8).repeat(1, 7, 1)  # whose mean over 7 is rounded
    assert polysemanticity(same).abs().max() < 1e-6
    assert polysemanticity(torch.tensor([[[1.0, 0.0]] * 4])).item() == 0


def test_redundancy_is_the_highest_cosine_with_another_unit() -> None:
    means = unit_vectors(6, 4) * torch.tensor([1, 0.2, 3, 1, 0.5, 1])[:, None]
    expected = [max(cosine(one, other) for k, other in enumerate(means) if k != unit) for unit, one in enumerate(means)]
    assert redundancy(means).tolist() == pytest.approx(expected, abs=1e-6)
    assert redundancy(means[:1]).isnan().all()


def test_coherence_of_a_layer_wider_than_a_block() -> None:
    embeddings = unit_vectors(60, 6)
    top = torch.randint(60, (5, 300), generator=torch.Generator().manual_seed(0))
    found = coherence(embeddings, top)
    vectors = embeddings[top.T]
    expected = clarity(vectors), polysemanticity(vectors), redundancy(vectors.mean(dim=1))
    for name, values in zip(("clarity", "polysemanticity", "redundancy"), expected, strict=True):
        assert found[name].tolist() == pytest.approx(values.tolist(), abs=1e-5)
        assert found[name].shape == (300,)
    alone = coherence(embeddings, top[:, :1])
    assert alone["clarity"].item() == pytest.approx(found["clarity"][0].item())
    assert alone["redundancy"].isnan().all()
