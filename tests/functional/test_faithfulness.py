import math

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score

from emobench.functional.faithfulness import (
    METRICS,
    Evidence,
    agreement,
    auprc,
    auroc,
    cosine,
    description_auroc,
    measured_evidence,
    pearson,
    scored_evidence,
    top_mask,
)  # fmt: skip
from emobench.functional.interpretability import label_accuracy
from emobench.functional.similarity.scores import top_images

IMAGES, UNITS = 2000, 200
KNOWN = (0.0, 0.2, 0.5, 0.6, 0.79, 0.8, 1.0)


def by_loop(activation: list[float], values: list[float], share: float) -> dict[str, float]:
    """The five scores of one unit and one measured concept, from scikit-learn, scipy and the formula of the cosine."""
    count = max(1, round(share * len(activation)))
    active = sorted(range(len(activation)), key=lambda image: (-activation[image], image))[:count]
    clear = [image for image, value in enumerate(values) if value >= 0.8 or value <= 0.5]
    present = [values[image] >= 0.8 for image in clear]
    if not any(present) or all(present) or len(set(activation)) == 1:
        return dict.fromkeys(METRICS, math.nan)
    fires = [image in active for image in clear]
    measured = [image for image, value in enumerate(values) if not math.isnan(value)]
    left, right = [activation[image] for image in measured], [values[image] for image in measured]
    product = sum(x * y for x, y in zip(left, right, strict=True))
    return {
        "f1": f1_score(present, fires),
        "iou": jaccard_score(present, fires),
        "pearson": pearsonr(left, right).statistic,
        "cosine": product / math.sqrt(sum(x * x for x in left) * sum(y * y for y in right)),
        "auprc": average_precision_score(present, [activation[image] for image in clear]),
    }


def test_all_five_scores_are_those_of_other_libraries() -> None:
    rng = np.random.default_rng(0)
    # 130 units are three blocks of auprc's; halves make ties; concepts 0 and 1 are measured on the same images.
    activations = torch.from_numpy(rng.integers(-6, 7, (80, 130)).astype(np.float32) / 2)
    activations[:, 3] = 1.5
    values = rng.choice(KNOWN, (80, 6)).astype(np.float32)
    values[:20, :2] = values[::3, 2] = values[:, 3] = np.nan
    values[:, 4], values[:, 5] = rng.choice([0.6, 0.8, 1.0], 80), rng.choice([0.0, 0.5, 0.7], 80)
    found = agreement(activations, measured_evidence(torch.from_numpy(values)), 0.1)
    assert tuple(found) == METRICS
    for unit in (0, 1, 2, 3, 62, 63, 64, 65, 127, 128, 129):
        for concept in range(6):
            expected = by_loop(activations[:, unit].tolist(), values[:, concept].astype(float).round(2).tolist(), 0.1)
            for name in METRICS:
                score = found[name][unit, concept].item()
                assert score == pytest.approx(expected[name], abs=1e-5, nan_ok=True), (name, unit, concept)
    assert all(scores.isnan().any(dim=0).tolist() == [True] * 6 for scores in found.values())
    assert all(scores[:3].isnan().all(dim=0).tolist() == [False] * 3 + [True] * 3 for scores in found.values())


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float32, (9, 2), elements=st.sampled_from([0.0, 0.5, 1.0, -2.0, 7.0])),
    arrays.arrays(np.int64, (9, 3), elements=st.sampled_from([0, 1, 2])),
)
def test_auprc_is_sklearns_also_with_ties_and_unknown_images(activations: np.ndarray, states: np.ndarray) -> None:
    present, absent = (torch.from_numpy(states == state) for state in (1, 0))
    found = auprc(torch.from_numpy(activations), Evidence(torch.zeros(9, 3), present, absent))
    for concept in range(3):
        known = states[:, concept] < 2
        for unit in range(2):
            if present[:, concept].any():
                expected = average_precision_score(states[known, concept], activations[known, unit])
                assert found[unit, concept].item() == pytest.approx(expected, abs=1e-9)
            else:
                assert found[unit, concept].isnan()


def test_concepts_that_nobody_measured_have_no_score() -> None:
    values = torch.tensor([[0.1, torch.nan], [0.9, torch.nan], [0.4, torch.nan]])
    activations = torch.tensor([[1.0], [2.0], [-1.0]])
    for score in (pearson, cosine):
        assert score(activations, values).isnan().tolist() == [[False, True]]


def test_a_unit_that_is_constant_where_the_concept_is_measured_has_no_correlation() -> None:
    activations, values = torch.full((41, 1), 0.3), torch.rand(41, 1, generator=torch.Generator().manual_seed(0))
    activations[40], values[40] = 1, torch.nan
    assert pearson(activations, values).isnan().all()


def test_evidence_of_scores_is_present_where_they_are_highest() -> None:
    scores = torch.tensor([[0.3, 0.1], [0.3, 0.2], [0.3, 0.9], [0.1, 0.8]])
    evidence = scored_evidence(scores, 0.5)
    assert evidence.present.tolist() == [[True, False], [True, False], [False, True], [False, True]]
    assert torch.equal(evidence.absent, ~evidence.present)
    assert top_mask(scores, 0.01).sum(dim=0).tolist() == [1, 1]
    # All images present: nothing to tell them from.
    assert agreement(scores, scored_evidence(scores, 1.0), 0.5)["f1"].isnan().all()


def test_other_images_and_nan_are_refused() -> None:
    evidence = measured_evidence(torch.rand(4, 2))
    with pytest.raises(ValueError, match="activations: expected 4 images; got 3"):
        agreement(torch.zeros(3, 1), evidence, 0.5)
    with pytest.raises(ValueError, match="activations: expected numbers; got NaN"):
        agreement(torch.tensor([[0.0], [1], [2], [torch.nan]]), evidence, 0.5)


def follows_its_concept(share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations (images, units) that follow a concept of their own and noise, and the labels (images, units)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.rand(IMAGES, UNITS, generator=generator).argsort(dim=0) < round(share * IMAGES)
    strength = 2 + 2 * torch.rand(UNITS, generator=generator)
    return strength * labels + torch.randn(IMAGES, UNITS, generator=generator), labels


def changed(labels: torch.Tensor, *, missing: bool) -> torch.Tensor:
    """Labels of which a random half is missing, or to which as many wrong ones are added (the paper, section 4)."""
    drawn = torch.rand(labels.shape, generator=torch.Generator().manual_seed(9))
    count = int(labels[:, 0].sum())
    if missing:
        return labels & (torch.where(labels, drawn, 2).argsort(dim=0).argsort(dim=0) < count // 2)
    return labels | (torch.where(labels, 2, drawn).argsort(dim=0).argsort(dim=0) < count)


def own_scores(activations: torch.Tensor, labels: torch.Tensor, active_share: float) -> dict[str, torch.Tensor]:
    """Each unit's score (units,) for its own concept by the five metrics and by three others."""
    evidence = measured_evidence(labels.float())
    scores = {name: value.diagonal() for name, value in agreement(activations, evidence, active_share).items()}
    top, membership = top_images(activations, round(active_share * IMAGES)), torch.tensor([[False, True]])
    columns = [(top[:, [unit]], label) for unit, label in enumerate(labels.T)]
    found = [label_accuracy(images, label.long(), membership, torch.tensor([0])) for images, label in columns]
    scores["recall"] = torch.cat(found)
    scores["precision"] = torch.stack([label[images].sum() / label.sum() for images, label in columns])
    scores["auroc"] = torch.cat([auroc(activations[:, [unit]], label) for unit, label in enumerate(labels.T)])
    return scores


def falling(activations: torch.Tensor, labels: torch.Tensor, active_share: float) -> dict[str, dict[str, float]]:
    """Test -> metric -> share of the units whose score falls by more than 0.001, the paper's margin."""
    before, result = own_scores(activations, labels, active_share), {}
    for test in ("missing", "extra"):
        after = own_scores(activations, changed(labels, missing=test == "missing"), active_share)
        result[test] = {name: (after[name] < before[name] - 0.001).double().mean().item() for name in before}
    return result


def test_exactly_the_five_metrics_pass_both_sanity_tests() -> None:
    found = falling(*follows_its_concept(0.02, seed=0), active_share=0.02)
    passed = {test: {name for name, share in shares.items() if share > 0.9} for test, shares in found.items()}
    assert passed["missing"] & passed["extra"] == set(METRICS)
    assert passed["missing"] == {*METRICS, "recall"}
    assert passed["extra"] == {*METRICS, "precision", "auroc"}
    assert found["extra"]["recall"] == 0
    assert max(found["missing"][name] for name in ("precision", "auroc")) < 0.8, "none is near the limit"


def test_the_cosine_fails_for_a_unit_that_is_active_on_all_images() -> None:
    activations, labels = follows_its_concept(0.02, seed=0)
    found = falling(activations + 3, labels, active_share=0.02)
    assert found["extra"]["cosine"] < 0.1
    assert min(found["extra"][name] for name in METRICS if name != "cosine") > 0.9


def test_auroc_passes_where_the_concept_is_common() -> None:
    found = falling(*follows_its_concept(0.3, seed=0), active_share=0.3)
    assert min(found[test]["auroc"] for test in found) > 0.9
    assert found["missing"]["precision"] < 0.8
    assert found["extra"]["recall"] == 0


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
