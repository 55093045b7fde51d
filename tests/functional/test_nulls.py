import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from statsmodels.stats.multitest import multipletests

from emobench.functional.similarity.nulls import q_values, random_top_images, shared_null
from emobench.functional.similarity.scores import normaliser, soft_wpmi_log_likelihood


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Ordered sets of 2 of 4 are drawn with repetition and sifted, those of 3 of 4 are cut from permutations.
@pytest.mark.parametrize("top_k", [2, 3])
def test_random_top_images_are_uniform_over_ordered_sets(top_k: int) -> None:
    found = random_top_images(4, top_k, 6000, seeded())
    assert found.shape == (top_k, 6000)
    counts = dict.fromkeys(itertools.permutations(range(4), top_k), 0)
    for column in found.T.tolist():
        counts[tuple(column)] += 1  # a KeyError where an image comes twice
    assert chisquare(list(counts.values())).pvalue > 0.001


@pytest.mark.parametrize(("images", "top_k"), [(2000, 20), (50, 20)])
def test_random_top_images_are_distinct_and_seeded(images: int, top_k: int) -> None:
    found = random_top_images(images, top_k, 300, seeded(3))
    assert all(len(set(column)) == top_k for column in found.T.tolist())
    assert 0 <= found.min() < found.max() < images
    assert torch.equal(found, random_top_images(images, top_k, 300, seeded(3)))
    assert not torch.equal(found, random_top_images(images, top_k, 300, seeded(4)))


@pytest.mark.parametrize("top_k", [0, 6])
def test_random_top_images_of_an_impossible_number(top_k: int) -> None:
    with pytest.raises(ValueError, match=f"top_k: expected 1 to 5, the number of images; got {top_k}"):
        random_top_images(5, top_k, 3, seeded())


def test_shared_null_is_the_plain_loop() -> None:
    # Quarters, so that draws and observed values are often equal.
    drawn = torch.randint(-8, 8, (300, 4), generator=seeded()) / 4
    held, observed = torch.tensor([0.5, -0.25, 0.0, 1.0]), torch.tensor([-5.0, 0.25, 1.0, 2.0, 9.0])
    best, winners = [], []
    for row in drawn.tolist():
        values = [value - held[m].item() for m, value in enumerate(row)]
        best.append(max(values))
        winners.append(values.index(max(values)))
    found = shared_null(drawn, held, observed)
    expected = [(1 + sum(value >= limit for value in best)) / 301 for limit in observed.tolist()]
    assert found.p_values().tolist() == pytest.approx(expected, abs=1e-12)
    assert found.p_values()[-1] == 1 / 301, "a p-value is never 0"
    assert found.sample.tolist() == best
    assert found.best.tolist() == pytest.approx([winners.count(m) / 300 for m in range(4)])
    effect = (observed.double() - np.mean(best)) / np.std(best, ddof=1)
    assert found.effect(observed).tolist() == pytest.approx(effect.tolist(), rel=1e-5)
    with pytest.raises(ValueError, match=r"normaliser: expected \(4\,\); got \(3,\)"):
        shared_null(drawn, torch.zeros(3), observed)


def test_the_layers_normaliser_is_held_fixed() -> None:
    scores = 0.2 + 0.1 * torch.randn(800, 6, generator=seeded())
    likelihood = {}
    for name, seed, count in (("null", 1, 4000), ("knows nothing", 2, 400)):
        likelihood[name] = soft_wpmi_log_likelihood(scores, random_top_images(800, 20, count, seeded(seed)))
    # A layer whose units all look at the first concept.
    top = scores[:, :1].add(0.05 * torch.randn(800, 30, generator=seeded(3))).sort(dim=0, descending=True).indices
    held = normaliser(soft_wpmi_log_likelihood(scores, top[:20]), 1.0)
    observed = (likelihood["knows nothing"] - held).amax(dim=1)
    null = shared_null(likelihood["null"], held, observed)
    assert null.best[0] < 0.02, "what every unit of the layer is about describes none"
    p_values = null.p_values()
    assert p_values.mean().item() == pytest.approx(0.5, abs=0.06)
    assert (p_values < 0.05).double().mean().item() == pytest.approx(0.05, abs=0.04)
    anew = shared_null(likelihood["null"], normaliser(likelihood["null"], 1.0), observed).p_values()
    assert (anew - p_values).abs().mean() > 0.2
    assert (anew < 0.05).double().mean() > 0.9, "drawn anew it would pass units that know nothing"


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    p_values = torch.rand(200, generator=seeded(), dtype=torch.float64) ** 2
    p_values[:20] = p_values[20]
    expected = multipletests(p_values.numpy(), method="fdr_bh")[1]
    np.testing.assert_allclose(q_values(p_values).numpy(), expected, atol=1e-12)
