import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from emobench.functional import similarity
from emobench.functional.topk import top_images

SPEC = importlib.util.spec_from_file_location("similarity_oracle", Path(__file__).with_name("similarity_oracle.py"))
oracle = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(oracle)


def make(kind, images=150, units=6, concepts=7, seed=0):
    """Activations of one kind, with concept scores that look like cosines."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.2, 0.05, (images, concepts)).astype(np.float32)
    activations = rng.normal(0, 1, (images, units)).astype(np.float32)
    if kind == "tied":
        activations = activations.round()
    elif kind == "constant":
        activations[:, ::2] = 0.5
    elif kind == "sparse":
        activations[rng.random(activations.shape) < 0.97] = 0
    elif kind == "ascending":
        activations.sort(axis=0)
    return scores, activations


KINDS = ["random", "tied", "constant", "sparse", "ascending"]


def assert_equals(actual, expected, scale=None):
    assert actual.dtype == torch.float32
    largest = np.abs(expected if scale is None else scale).max()
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=1e-4 * largest)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["soft_wpmi", "wpmi"])
def test_wpmis_equal_the_plain_loop(name, kind):
    scores, activations = make(kind)
    likelihood = getattr(oracle, f"{name}_likelihood")(scores, activations)
    actual = getattr(similarity, name)(torch.from_numpy(scores), torch.from_numpy(activations))
    assert_equals(actual, getattr(oracle, name)(scores, activations), scale=likelihood)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 3, 149, 150])
def test_top_images_go_by_activation_then_index(kind, k):
    activations = make(kind)[1]
    expected = np.array([oracle.top(activations[:, u], k) for u in range(activations.shape[1])]).T
    np.testing.assert_array_equal(top_images(torch.from_numpy(activations), k).numpy(), expected)
