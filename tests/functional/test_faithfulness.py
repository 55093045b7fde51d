import math

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from emobench.functional.faithfulness import auroc, description_auroc


@settings(max_examples=50, deadline=None)
@given(
    arrays.arrays(np.float32, (9, 3), elements=st.sampled_from([0.0, 0.5, 1.0, -2.0, 7.0])),
    st.integers(1, 8),
)
def test_auroc_is_sklearns_also_with_ties(scores: np.ndarray, positives: int) -> None:
    positive = np.arange(9) < positives
    expected = [roc_auc_score(positive, scores[:, unit]) for unit in range(3)]
    found = auroc(torch.from_numpy(scores), torch.from_numpy(positive))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_auroc_without_negatives_is_nan() -> None:
    assert auroc(torch.rand(4, 2), torch.ones(4, dtype=torch.bool)).isnan().all()


def test_description_auroc_uses_only_clear_images_of_the_units_own_concept() -> None:
    annotations = torch.tensor([[0.9, 0.1], [0.8, 0.95], [0.6, 0.9], [0.5, 0.2], [0.1, torch.nan]])
    activations = torch.tensor([[3.0, 1.0], [2.0, 5.0], [99.0, 1.0], [1.0, 2.0], [2.0, 99.0]])
    found = description_auroc(activations, annotations, torch.tensor([0, 1]))
    # Unit 0: positives 3 and 2, negatives 1 and 2, the third image lies between.
    assert found[0].item() == pytest.approx(3.5 / 4)
    # Unit 1: positives 5 and 1, negatives 1 and 2, the last image was not measured.
    assert found[1].item() == pytest.approx((2 + 0.5) / 4)
    assert math.isnan(description_auroc(activations, torch.full((5, 2), 0.6), torch.tensor([0, 1]))[0])
