import pytest
import torch

from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import probability_metrics


def sample(temperature, images=20_000):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(images, 7, generator=generator, dtype=torch.float64) * 2
    labels = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator).squeeze(-1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_finds_the_temperature_the_labels_were_drawn_with(temperature):
    assert fit_temperature(*sample(temperature)) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("factor", [1e-6, 0.1, 7.0, 1e6])
def test_scaled_logits_scale_the_temperature(factor):
    logits, labels = sample(1.5, images=500)
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor * fit_temperature(logits, labels), rel=1e-6)


def test_no_other_temperature_has_a_lower_nll():
    logits, labels = sample(2.0, images=300)
    best = fit_temperature(logits, labels)
    nll = [float(probability_metrics(logits / (best * change), labels)["nll"]) for change in (1, 0.8, 0.99, 1.01, 1.25)]
    assert min(nll) == nll[0]


def test_a_constant_per_image_changes_nothing():
    logits, labels = sample(2.0, images=300)
    moved = logits + torch.arange(300).unsqueeze(-1)
    assert fit_temperature(moved, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-6)


def test_ends():
    logits = torch.eye(3)
    assert fit_temperature(logits, torch.arange(3)) < 0.05
    assert fit_temperature(logits, torch.tensor([1, 2, 0])) > 100
    assert fit_temperature(torch.ones(3, 7), torch.arange(3)) == 1.0


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.full((2, 7), torch.inf), torch.tensor([0, 1]), "NaN or infinity"),
        (torch.zeros(2, 7), torch.tensor([0]), "expected"),
        (torch.zeros(0, 7), torch.zeros(0), "n > 0"),
    ],
)
def test_bad_input(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits, labels)
