import math

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from statsmodels.stats.multitest import multipletests

from emobench.functional import paired
from emobench.functional.classification import probability_metrics
from emobench.functional.paired import holm, mcnemar, paired_bootstrap, paired_probabilities

NAMES = list("abcdefg")


def correct(gains, losses, both=5, neither=4):
    before = [False] * gains + [True] * losses + [True] * both + [False] * neither
    after = [True] * gains + [False] * losses + [True] * both + [False] * neither
    return torch.tensor(before), torch.tensor(after)


@pytest.mark.parametrize(
    ("gains", "losses", "p_value"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 5, 1.0),
        (3, 0, 0.25),
        (0, 6, 0.03125),
        (12, 3, 1152 / 2**15),
        (3, 12, 1152 / 2**15),
    ],
)
def test_mcnemar_golden_values(gains, losses, p_value):
    result = mcnemar(*correct(gains, losses))
    assert (result.gains, result.losses) == (gains, losses)
    assert result.p_value == pytest.approx(p_value, rel=1e-12)


def test_mcnemar_is_the_binomial_sum():
    gains, losses = 60, 45
    tail = sum(math.comb(105, k) for k in range(46)) / 2**105
    assert mcnemar(*correct(gains, losses)).p_value == pytest.approx(2 * tail, rel=1e-9)


def test_mcnemar_refuses_what_is_not_bool_or_not_paired():
    with pytest.raises(ValueError, match=r"expected bool \(n,\) twice"):
        mcnemar(torch.tensor([0, 1]), torch.tensor([True, True]))
    with pytest.raises(ValueError, match=r"\(1,\) and bool \(2,\)"):
        mcnemar(torch.tensor([True]), torch.tensor([True, True]))


def test_holm_as_a_plain_loop():
    values = [0.02, 0.5, 0.001, 0.04, 0.02]
    order = sorted(range(5), key=values.__getitem__)
    expected, running = [0.0] * 5, 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, values[index] * (5 - rank)))
        expected[index] = running
    assert holm(values) == pytest.approx(expected)
    assert holm([]) == []
    many = np.round(np.random.default_rng(0).random(40) ** 4, 2)
    assert holm(many) == multipletests(many, method="holm")[1].tolist()
    with pytest.raises(ValueError, match="expected numbers from 0 to 1"):
        holm([0.1, math.nan])


def sample(images=600, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.integers(7, size=images)
    before = np.where(rng.random(images) < 0.6, target, rng.integers(7, size=images))
    after = np.where(rng.random(images) < 0.3, rng.integers(7, size=images), before)
    return target, before, after


def accuracy(target, preds):
    return (target == preds).mean()


def balanced(target, preds):
    return np.mean([(preds[target == index] == index).mean() for index in range(7)])


def recall_c(target, preds):
    return (preds[target == 2] == 2).mean()


def test_bootstrap_measures_and_covers_what_resampling_images_gives():
    target, before, after = sample()
    arguments = [torch.from_numpy(values) for values in (target, before, after)]
    intervals = paired_bootstrap(*arguments, draws=4000, confidence=0.9, seed=1, class_names=NAMES)
    assert set(intervals) == {"accuracy", "balanced_accuracy", "macro_f1", *(f"recall_{name}" for name in NAMES)}
    scores = {"accuracy": accuracy, "balanced_accuracy": balanced, "recall_c": recall_c}
    change = sk.f1_score(target, after, average="macro") - sk.f1_score(target, before, average="macro")
    assert intervals["macro_f1"].delta == pytest.approx(change, abs=1e-12)
    rng = np.random.default_rng(2)
    picks = rng.integers(600, size=(800, 600))
    for name, score in scores.items():
        assert intervals[name].delta == pytest.approx(score(target, after) - score(target, before), abs=1e-12)
        drawn = [score(target[pick], after[pick]) - score(target[pick], before[pick]) for pick in picks]
        width = intervals[name].high - intervals[name].low
        assert intervals[name].low == pytest.approx(np.quantile(drawn, 0.05), abs=0.2 * width)
        assert intervals[name].high == pytest.approx(np.quantile(drawn, 0.95), abs=0.2 * width)


def test_bootstrap_of_accuracy_has_the_width_of_the_normal_approximation():
    target, before, after = sample(images=5000)
    intervals = paired_bootstrap(
        *(torch.from_numpy(v) for v in (target, before, after)), draws=5000, confidence=0.95, seed=0, class_names=NAMES
    )
    change = (after == target).astype(float) - (before == target)
    half = 1.96 * change.std() / math.sqrt(5000)
    interval = intervals["accuracy"]
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.05)
    assert interval.low < interval.delta < interval.high


def test_bootstrap_is_fixed_by_its_seed():
    arguments = [torch.from_numpy(values) for values in sample()]
    options = {"draws": 200, "confidence": 0.95, "class_names": NAMES}
    first, again, other = (paired_bootstrap(*arguments, seed=seed, **options) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_bootstrap_of_an_absent_class_is_nan():
    same = torch.tensor([0, 0, 2])
    intervals = paired_bootstrap(same, same, same, draws=100, confidence=0.95, seed=0, class_names="abc")
    assert all(math.isnan(value) for value in intervals["recall_b"])
    assert intervals["recall_c"] == (0.0, 0.0, 0.0)


def test_bootstrap_of_bad_input():
    same = torch.tensor([0, 1])
    options = {"draws": 100, "confidence": 0.95, "seed": 0, "class_names": "ab"}
    with pytest.raises(ValueError, match=r"expected \(n,\) each"):
        paired_bootstrap(same, same, same[:1], **options)
    with pytest.raises(ValueError, match="out of range; expected 0 to 1"):
        paired_bootstrap(same, same, same + 1, **options)


def logit_sample(images=200, configs=2, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.integers(7, size=images)
    logits = rng.normal(size=(1 + configs, images, 7)) + 1.5 * np.eye(7)[target]
    return torch.from_numpy(target), torch.from_numpy(logits[0]).float(), torch.from_numpy(logits[1:]).float()


OPTIONS = {"draws": 3000, "confidence": 0.9, "seed": 1}


def test_probabilities_measure_and_cover_what_resampling_images_gives():
    target, before, after = logit_sample()
    found = paired_probabilities(target, before, after, **OPTIONS)
    rng = np.random.default_rng(2)
    picks = torch.from_numpy(rng.integers(200, size=(400, 200)))
    base = probability_metrics(before, target)
    for config, intervals in enumerate(found):
        edited = probability_metrics(after[config], target)
        for name, interval in intervals.items():
            assert interval.delta == pytest.approx(float(edited[name] - base[name]), abs=1e-12)
    drawn = {name: [] for name in base}
    for pick in picks:
        first, second = (probability_metrics(logits[pick], target[pick]) for logits in (before, after[1]))
        for name, values in drawn.items():
            values.append(float(second[name] - first[name]))
    for name, values in drawn.items():
        interval = found[1][name]
        width = interval.high - interval.low
        assert interval.low == pytest.approx(np.quantile(values, 0.05), abs=0.2 * width)
        assert interval.high == pytest.approx(np.quantile(values, 0.95), abs=0.2 * width)


def test_probabilities_do_not_depend_on_how_many_draws_are_held(monkeypatch):
    arguments = logit_sample(images=50)
    whole = paired_probabilities(*arguments, **OPTIONS | {"draws": 101})
    monkeypatch.setattr(paired, "COUNTS_AT_ONCE", 350)
    parts = paired_probabilities(*arguments, **OPTIONS | {"draws": 101})
    for one, other in zip(whole, parts, strict=True):
        for name in one:
            assert one[name] == pytest.approx(other[name], abs=1e-12)
    assert whole != paired_probabilities(*arguments, **OPTIONS | {"draws": 101, "seed": 2})


def test_probabilities_of_bad_input():
    target, before, after = logit_sample(images=5)
    for broken in (
        (target[:4], before, after),
        (target[:0], before[:0], after[:, :0]),
        (target, before, after * np.nan),
    ):
        with pytest.raises(ValueError, match="expected .configs, n, classes. without NaN"):
            paired_probabilities(*broken, **OPTIONS)
