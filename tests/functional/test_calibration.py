import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import probability_metrics


def sample(temperature, images=20_000):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(images, 7, generator=generator, dtype=torch.float64) * 2
    labels = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator).squeeze(-1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_finds_the_temperature_the_labels_were_drawn_with(temperature):
    assert float(fit_temperature(*sample(temperature))) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("factor", [1e-6, 0.1, 7.0, 1e6])
def test_scaled_logits_scale_the_temperature(factor):
    logits, labels = sample(1.5, images=500)
    torch.testing.assert_close(fit_temperature(logits * factor, labels), factor * fit_temperature(logits, labels))


def test_no_other_temperature_has_a_lower_nll():
    logits, labels = sample(2.0, images=300)
    best = fit_temperature(logits, labels)
    nll = [float(probability_metrics(logits / (best * change), labels)["nll"]) for change in (1, 0.8, 0.99, 1.01, 1.25)]
    assert min(nll) == nll[0]


def test_a_constant_per_image_changes_nothing():
    logits, labels = sample(2.0, images=300)
    moved = logits + torch.arange(300).unsqueeze(-1)
    torch.testing.assert_close(fit_temperature(moved, labels), fit_temperature(logits, labels))


def test_ends():
    logits = torch.eye(3)
    assert fit_temperature(logits, torch.arange(3)) < 0.05
    assert fit_temperature(logits, torch.tensor([1, 2, 0])) > 100
    assert fit_temperature(torch.ones(3, 7), torch.arange(3)) == 1.0


def searched(logits, labels):
    """The plain way: scipy's bounded search over log T."""
    spread = float((logits - logits.gather(1, labels.unsqueeze(1))).square().mean().sqrt())

    def nll(log_temperature):
        return float(probability_metrics(logits / (spread * math.exp(log_temperature)), labels)["nll"])

    return spread * math.exp(
        minimize_scalar(nll, bounds=(-math.log(1000), math.log(1000)), method="bounded", options={"xatol": 1e-9}).x
    )


@given(st.integers(0, 2**31), st.integers(20, 200), st.floats(0.01, 50), st.floats(0.0, 2.0))
def test_is_what_a_plain_search_finds(seed, images, scale, skill):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(5, (images,), generator=generator)
    logits = torch.randn(images, 5, generator=generator, dtype=torch.float64)
    logits = scale * (logits + skill * torch.nn.functional.one_hot(labels, 5))
    temperature, plain = float(fit_temperature(logits, labels)), searched(logits, labels)
    nll = [float(probability_metrics(logits / one, labels)["nll"]) for one in (temperature, plain)]
    assert nll[0] <= nll[1] + 1e-12
    if 1e-2 < plain / scale < 1e2:  # further out the NLL is flat
        assert temperature == pytest.approx(plain, rel=1e-5)


def test_each_of_many_is_fitted_as_if_alone():
    logits, labels = sample(2.0, images=300)
    wild = torch.stack([logits, 3 * logits, torch.zeros_like(logits), 1e3 * torch.eye(7)[labels].double(), -logits])
    alone = [fit_temperature(one, labels) for one in wild]
    torch.testing.assert_close(fit_temperature(wild, labels), torch.stack(alone), rtol=1e-9, atol=0)
    together = fit_temperature(wild.view(5, 1, 300, 7), labels)
    torch.testing.assert_close(together, torch.stack(alone).view(5, 1), rtol=1e-9, atol=0)


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
