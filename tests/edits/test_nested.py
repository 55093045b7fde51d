"""Searches judged by folds, against plain loops over the folds."""

import numpy as np
import pytest
import torch
from torch import nn

from emobench.edits.nested import Descent, FoldSearch, Way, fits_needed
from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import probability_metrics
from emobench.sweeps import scaled
from emobench.sweeps.scaled import ScaledNetwork, search_scales

IMAGES, UNITS, FOLDS = 90, 12, 3
DESCENT = Descent(steps=5, batch_size=30, learning_rate=0.2, seed=1)


@pytest.fixture(scope="module")
def world():
    """Two ways with different pulls, labels that follow the network, and folds; three images have none."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, UNITS), nn.ReLU(), nn.Linear(UNITS, 3)).eval()
    inputs = 2 * torch.randn(IMAGES, 6, generator=generator)
    labels = torch.multinomial((3 * model(inputs)).softmax(-1).detach(), 1, generator=generator)[:, 0]
    network = ScaledNetwork(model, ["0"], inputs, memory_gib=1.0)
    groups = {"0": torch.arange(UNITS)}
    ways = [Way(name, network, groups, penalty) for name, penalty in (("weak", 0.0), ("strong", 3.0))]
    folds = np.arange(IMAGES) % FOLDS
    folds[[5, 50, 70]] = -1
    return ways, labels, folds


def fitted(way, labels, rows):
    return search_scales(way.network, labels, rows, way.groups, penalty=way.penalty, **vars(DESCENT))


def plain_choice(ways, labels, folds, others):
    """The way that is best on some folds, each by scales fitted on the rest of them."""
    scores = []
    for way in ways:
        logits, truth = [], []
        for fold in others:
            rows = np.flatnonzero(np.isin(folds, [one for one in others if one != fold]))
            own = np.flatnonzero(folds == fold)
            logits.append(way.network.all_logits(fitted(way, labels, rows), own))
            truth.append(labels[own])
        logits, truth = torch.cat(logits), torch.cat(truth)
        nll = probability_metrics(logits / fit_temperature(logits, truth), truth)["nll"].item()
        scores.append((-(logits.argmax(1) == truth).double().mean().item(), nll))
    return ways[min(range(len(ways)), key=scores.__getitem__)]


def test_every_fold_is_answered_by_what_the_others_chose(world):
    ways, labels, folds = world
    logits, chosen = FoldSearch(ways, labels, DESCENT).cross_fitted(folds)
    for fold in range(FOLDS):
        others = [one for one in range(FOLDS) if one != fold]
        way = plain_choice(ways, labels, folds, others)
        own = np.flatnonzero(folds == fold)
        scales = fitted(way, labels, np.flatnonzero(np.isin(folds, others)))
        assert chosen[fold] == way.name
        assert torch.equal(logits[own], way.network.all_logits(scales, own))
    assert logits[folds < 0].isnan().all()


def test_labels_of_a_fold_have_no_say_in_its_answers(world):
    ways, labels, folds = world
    before, _ = FoldSearch(ways, labels, DESCENT).cross_fitted(folds)
    own = np.flatnonzero(folds == 1)
    changed = labels.clone()
    changed[own] = (labels[own] + 1) % 3
    after, _ = FoldSearch(ways, changed, DESCENT).cross_fitted(folds)
    assert torch.equal(before[own], after[own])
    assert not torch.equal(before[folds == 0], after[folds == 0])


def test_what_is_chosen_is_fitted_on_all_that_has_a_fold(world):
    ways, labels, folds = world
    way, scales = FoldSearch(ways, labels, DESCENT).chosen(folds)
    assert way is plain_choice(ways, labels, folds, list(range(FOLDS)))
    assert torch.equal(scales["0"], fitted(way, labels, np.flatnonzero(folds >= 0))["0"])


@pytest.mark.parametrize("count", [1, 2])
def test_nothing_is_fitted_twice(world, count, monkeypatch):
    ways, labels, folds = world
    made = []
    monkeypatch.setattr("emobench.edits.nested.search_scales", lambda *args, **options: made.append(args[2].tobytes())
                        or scaled.search_scales(*args, **options))  # fmt: skip
    search = FoldSearch(ways[:count], labels, DESCENT)
    search.cross_fitted(folds)
    search.chosen(np.where(np.arange(IMAGES) < 60, folds, -1))
    assert len(made) == fits_needed(count, FOLDS)
