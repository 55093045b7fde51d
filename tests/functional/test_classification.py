import math

import pytest
import sklearn.metrics as sk
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from emobench.functional.classification import (
    classification_metrics,
    confusion_matrix,
    label_ranks,
    metric_columns,
    probability_metrics,
)

NAMES = list("abcdefg")


def sample(images=400, configs=(), seed=0, spread=2.0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(7, (images,), generator=generator)
    logits = torch.randn(*configs, images, 7, generator=generator) * spread
    logits[..., torch.arange(images), labels] += 1.5
    return logits, labels


def test_agrees_with_scikit_learn_and_torchmetrics():
    logits, labels = sample()
    metrics = classification_metrics(logits, labels, NAMES)
    preds, probabilities = logits.argmax(-1), logits.double().softmax(-1)
    classes = list(range(7))
    assert metrics["accuracy"] == pytest.approx(sk.accuracy_score(labels, preds), abs=1e-12)
    assert metrics["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, preds), abs=1e-12)
    assert metrics["macro_f1"] == pytest.approx(sk.f1_score(labels, preds, average="macro"), abs=1e-12)
    assert metrics["top2"] == pytest.approx(sk.top_k_accuracy_score(labels, logits, k=2, labels=classes), abs=1e-12)
    assert metrics["nll"] == pytest.approx(sk.log_loss(labels, probabilities, labels=classes), abs=1e-9)
    brier = sk.brier_score_loss(labels, probabilities, labels=classes, scale_by_half=False)
    assert metrics["brier"] == pytest.approx(brier, abs=1e-9)
    ece = multiclass_calibration_error(probabilities, labels, num_classes=7, n_bins=15, norm="l1")
    assert metrics["ece"] == pytest.approx(float(ece), abs=1e-6)
    recalls = sk.recall_score(labels, preds, average=None)
    assert [metrics[f"recall_{name}"] for name in NAMES] == pytest.approx(list(recalls), abs=1e-12)
    assert torch.equal(confusion_matrix(preds, labels), torch.tensor(sk.confusion_matrix(labels, preds)))


def test_calibration_error_as_a_plain_loop():
    logits, labels = sample(images=150, spread=4)
    probabilities = logits.double().softmax(-1)
    confidence, preds = probabilities.max(-1)
    expected = 0.0
    for low in range(15):
        rows = [
            i for i in range(150) if low / 15 <= confidence[i] < (low + 1) / 15 or (low == 14 and confidence[i] == 1)
        ]
        if rows:
            right = sum(float(preds[i] == labels[i]) for i in rows) / len(rows)
            sure = sum(float(confidence[i]) for i in rows) / len(rows)
            expected += len(rows) / 150 * abs(right - sure)
    assert float(probability_metrics(logits, labels)["ece"]) == pytest.approx(expected, abs=1e-12)


def test_full_confidence_stands_in_the_last_bin():
    logits = torch.tensor([[1000.0, 0.0], [1000.0, 0.0]])
    assert float(probability_metrics(logits, torch.tensor([0, 1]))["ece"]) == pytest.approx(0.5)


def test_a_leading_axis_gives_what_single_calls_give():
    logits, labels = sample(images=90, configs=(2, 3))
    columns = metric_columns(logits, labels, NAMES)
    for row in range(2):
        for column in range(3):
            single = classification_metrics(logits[row, column], labels, NAMES)
            assert {name: float(values[row, column]) for name, values in columns.items()} == pytest.approx(single)


def test_absent_class_has_no_recall_and_is_left_out_of_means():
    logits, labels = sample()
    labels = torch.where(labels == 1, 0, labels)
    metrics = classification_metrics(logits, labels, NAMES)
    preds, present = logits.argmax(-1), [0, 2, 3, 4, 5, 6]
    assert (preds == 1).any()
    assert math.isnan(metrics["recall_b"])
    recall = sk.recall_score(labels, preds, labels=present, average="macro")
    assert metrics["balanced_accuracy"] == pytest.approx(recall, abs=1e-12)
    f1 = sk.f1_score(labels, preds, labels=present, average="macro")
    assert metrics["macro_f1"] == pytest.approx(f1, abs=1e-12)


def test_ties_go_to_the_lower_class():
    logits = torch.zeros(3, 7)
    assert label_ranks(logits, torch.tensor([0, 1, 6])).tolist() == [0, 1, 6]
    assert classification_metrics(logits, torch.tensor([0, 1, 6]), NAMES)["accuracy"] == pytest.approx(1 / 3)


def test_huge_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]])
    metrics = classification_metrics(logits, torch.tensor([0, 0]), ["a", "b"])
    assert metrics["nll"] == pytest.approx(1e4)
    assert metrics["brier"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(3, 7), torch.zeros(2, dtype=torch.long), "expected .*n, classes"),
        (torch.zeros(0, 7), torch.zeros(0, dtype=torch.long), "n > 0"),
        (torch.zeros(2, 7), torch.tensor([0, 7]), "labels reach from 0 to 7"),
        (torch.full((1, 7), torch.nan), torch.tensor([0]), "hold NaN"),
        (torch.zeros(2, 6), torch.tensor([0, 1]), "6 classes; class_names has 7"),
    ],
)
def test_bad_input(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(logits, labels, NAMES)


def test_confusion_matrix_of_bad_input():
    with pytest.raises(ValueError, match="preds reach from 0 to 9"):
        confusion_matrix(torch.tensor([0, 9]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="don't fit"):
        confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 1]))
