"""The trap springs on a wrong order, and never on an honest network, however weak."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from emobench.errors import UserError
from emobench.faces.class_order import check_class_order
from emobench.vocabulary.class_names import BASIC

SHARES = np.array([0.133, 0.015, 0.142, 0.247, 0.173, 0.111, 0.179])
"""Of FER2013's classes."""
ALPHABETICAL = sorted(BASIC)


def trained(strength: float, seed: int, images: int = 7000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of a classifier fitted to noisy features; ``strength`` moves the class means apart."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(7, images, p=SHARES / SHARES.sum())
    features = rng.normal(size=(images, 6)) + strength * rng.normal(size=(7, 6))[labels]
    half = images // 2
    fitted = LogisticRegression(max_iter=300).fit(features[:half], labels[:half])
    return torch.from_numpy(fitted.predict_log_proba(features[half:])), torch.from_numpy(labels[half:])


@pytest.mark.parametrize("strength", [0.0, 0.05, 0.1, 0.2, 0.4, 0.8])
def test_honest_networks_pass_however_weak(strength: float) -> None:
    for seed in range(5):
        logits, labels = trained(strength, seed)
        check_class_order(logits, labels, BASIC)
        check_class_order(logits[:200], labels[:200], BASIC)


@pytest.mark.parametrize("images", [200, 3500])
def test_networks_that_know_nothing_pass(images: int) -> None:
    rng = np.random.default_rng(images)
    for _ in range(100):
        labels = torch.from_numpy(rng.choice(7, images, p=SHARES / SHARES.sum()))
        favourite = torch.eye(7)[rng.integers(7)] * rng.choice([0, 1, 5])
        check_class_order(torch.from_numpy(rng.normal(size=(images, 7))) + favourite, labels, BASIC)


def test_the_alphabet_is_noticed() -> None:
    logits, labels = trained(0.8, 0)
    accuracy = float((logits.argmax(1) == labels).double().mean())
    wrong = logits[:, [BASIC.index(name) for name in ALPHABETICAL]]
    with pytest.raises(UserError, match=rf"another order: .* if the outputs are {', '.join(BASIC)}, but") as caught:
        check_class_order(wrong, labels, BASIC)
    assert f"{accuracy:.1%} if they are {', '.join(ALPHABETICAL)}" in str(caught.value)


@pytest.mark.parametrize("images", [200, 3500])
def test_two_swapped_classes_are_noticed(images: int) -> None:
    logits, labels = trained(1.5, 1)
    swapped = logits[:, [0, 1, 2, 4, 3, 5, 6]]
    with pytest.raises(UserError, match="if they are angry, disgust, fear, sad, happy, surprise, neutral"):
        check_class_order(swapped[:images], labels[:images], BASIC)
