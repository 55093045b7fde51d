"""The best order against all orders, on networks with known mistakes."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from emobench.functional.class_order import best_class_order


@pytest.mark.parametrize("seed", range(4))
def test_against_all_orders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, preds = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    preds[:80] = (labels[:80] + 1) % 5
    logits = torch.eye(5)[torch.from_numpy(preds)]
    found = best_class_order(logits, torch.from_numpy(labels))
    kappas = {order: cohen_kappa_score(labels, np.array(order)[preds]) for order in itertools.permutations(range(5))}

    def numerator(order: tuple[int, ...]) -> float:
        named = np.array(order)[preds]
        lucky = sum((labels == k).mean() * (named == k).mean() for k in range(5))
        return (named == labels).mean() - lucky

    assert numerator(found.order) == pytest.approx(max(map(numerator, kappas)))
    assert found.kappa == pytest.approx(kappas[found.order])
    assert found.given_kappa == pytest.approx(kappas[0, 1, 2, 3, 4])
    assert found.accuracy == pytest.approx((np.array(found.order)[preds] == labels).mean())
    assert found.given_accuracy == pytest.approx((preds == labels).mean())
    gains = int(((np.array(found.order)[preds] == labels) & (preds != labels)).sum())
    losses = int(((np.array(found.order)[preds] != labels) & (preds == labels)).sum())
    changed = gains + losses
    tail = sum(math.comb(changed, k) for k in range(gains, changed + 1)) / 2**changed
    assert found.p_value == pytest.approx(min(120 * tail, 1), rel=1e-6)


def test_a_right_order_stays() -> None:
    labels = torch.arange(70) % 7
    found = best_class_order(torch.eye(7)[labels], labels)
    assert (found.order, found.accuracy, found.kappa, found.p_value) == (tuple(range(7)), 1.0, 1.0, 1.0)


def test_one_answer_for_all_has_no_better_order() -> None:
    labels = torch.tensor([0] * 10 + [1] * 50 + [2] * 10)
    found = best_class_order(torch.eye(3)[torch.zeros(70, dtype=torch.long)], labels)
    assert (found.order, found.kappa, found.given_kappa) == ((0, 1, 2), 0.0, 0.0)
