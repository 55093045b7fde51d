import itertools
import math
import re

import pytest
import torch
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels

from emobench.functional.paired import mcnemar
from emobench.functional.pairings import smallest_mcnemar


def matrix(labels, preds, classes):
    table = torch.zeros(classes, classes, dtype=torch.int64)
    for label, pred in zip(labels, preds, strict=True):
        table[label, pred] += 1
    return table


def least_of_all_pairings(labels, before, after, classes):
    """Plain loops: every order of the second classifier's answers within each class, each tested on its own."""
    of_class = [[i for i, label in enumerate(labels) if label == one] for one in range(classes)]
    orders = [set(itertools.permutations([after[i] for i in members])) for members in of_class]
    smallest = math.inf
    for choice in itertools.product(*orders):
        paired = list(after)
        for members, answers in zip(of_class, choice, strict=True):
            for i, answer in zip(members, answers, strict=True):
                paired[i] = answer
        right = [torch.tensor([a == b for a, b in zip(preds, labels, strict=True)]) for preds in (before, paired)]
        smallest = min(smallest, mcnemar(*right).p_value)
    return smallest


@pytest.mark.parametrize("seed", range(25))
def test_no_pairing_gives_a_smaller_p_value(seed):
    generator = torch.Generator().manual_seed(seed)
    classes = 2 + seed % 2
    labels = [0] * 5 + [1] * 4 + [2] * (2 if classes == 3 else 0)
    before, after = (torch.randint(classes, (len(labels),), generator=generator).tolist() for _ in range(2))
    if seed % 3 == 0:  # few are right before and many after, so that the p-value is far from 1
        before, after = [(label + 1) % classes for label in labels], list(labels)
        after[seed % len(labels)] = before[seed % len(labels)]
    found = smallest_mcnemar(matrix(labels, before, classes), matrix(labels, after, classes))
    assert found.p_value == pytest.approx(least_of_all_pairings(labels, before, after, classes), rel=1e-12)


def test_p_value_is_that_of_statsmodels_for_the_fewest_discordant_images():
    before, after = torch.tensor([[30, 20], [5, 45]]), torch.tensor([[44, 6], [9, 41]])
    found = smallest_mcnemar(before, after)
    assert (found.gains, found.losses) == (14, 4)
    both, neither = 30 + 41, 6 + 5
    expected = mcnemar_of_statsmodels([[both, 4], [14, neither]], exact=True).pvalue
    assert found.p_value == pytest.approx(expected, rel=1e-12)


def test_the_same_matrix_twice_allows_no_difference():
    table = torch.tensor([[3, 1], [0, 4]])
    assert smallest_mcnemar(table, table) == (0, 0, 1.0)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (torch.ones(2, 3).long(), torch.ones(2, 3).long(), "confusion matrices are (2, 3) and (2, 3)"),
        (torch.ones(2, 2).long(), torch.ones(3, 3).long(), "confusion matrices are (2, 2) and (3, 3)"),
        (torch.ones(2, 2), torch.ones(2, 2), "expected integers from 0"),
        (torch.tensor([[2, -1], [0, 1]]), torch.tensor([[1, 0], [0, 1]]), "expected integers from 0"),
        (torch.tensor([[2, 0], [0, 1]]), torch.tensor([[1, 0], [1, 1]]), "of other images: [2, 1] and [1, 2]"),
    ],
)
def test_matrices_that_are_no_pair_are_refused(before, after, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        smallest_mcnemar(before, after)
