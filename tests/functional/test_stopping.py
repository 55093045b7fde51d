import itertools
from fractions import Fraction

import pytest
import torch

from emobench.functional.stopping import sequential_p, settling_hits, stopping_draw


@pytest.mark.parametrize("level", ["0.05", "0.01", "0.1"])
@pytest.mark.parametrize("draws", [1, 7, 19, 50, 99, 199, 200, 201, 1000])
def test_settling_hits_leave_no_p_below_the_level_and_one_hit_less_does(draws, level):
    hits, exact = settling_hits(draws, float(level)), Fraction(level)
    assert hits >= 1
    assert Fraction(1 + hits, 1 + draws) >= exact
    assert all(Fraction(hits, made) >= exact for made in range(hits, draws + 1))
    if hits > 1:
        assert Fraction(hits - 1, draws) < exact or Fraction(hits, 1 + draws) < exact


def plain_stop(rows, settling, least):
    """The rule said by a loop."""
    seen = [0] * len(rows[0])
    for number, row in enumerate(rows, 1):
        seen = [before + hit for before, hit in zip(seen, row, strict=True)]
        if number >= least and min(seen) >= settling:
            return number
    return None


@pytest.mark.parametrize("least", [0, 1, 3, 5, 9])
def test_stopping_is_the_plain_loop_and_ignores_what_comes_later(least):
    generator = torch.Generator().manual_seed(least)
    for _ in range(200):
        columns = int(torch.randint(1, 4, (), generator=generator))
        hits = torch.rand(12, columns, generator=generator) < 0.4
        expected = plain_stop(hits.tolist(), 3, least)
        assert stopping_draw(hits, 3, least) == expected
        if expected is not None:
            assert stopping_draw(hits[:expected], 3, least) == expected
            assert stopping_draw(hits[: expected - 1], 3, least) is None


def test_every_order_of_the_same_draws_has_the_same_side_of_the_level():
    """All sequences of eight draws: stopped or not, p is below the level where the p of all draws is."""
    draws, level = 8, 0.3
    settling = settling_hits(draws, level)
    for bits in itertools.product([False, True], repeat=draws):
        hits = torch.tensor(bits)
        made = stopping_draw(hits[:, None], settling, least=1) or draws
        whole = (1 + sum(bits)) / (1 + draws)
        assert (sequential_p(hits[:made], draws, settling) < level) == (whole < level)


def test_the_p_at_stopping_is_valid_under_luck():
    """Besag and Clifford's claim, exactly: all ranks of the observed are as likely, so P(p <= a) <= a for every a."""
    draws, settling = 5, 2
    found = []
    for order in itertools.permutations(range(draws + 1)):
        observed, *drawn = order
        hits = torch.tensor([value >= observed for value in drawn])
        made = stopping_draw(hits[:, None], settling, least=1) or draws
        found.append(sequential_p(hits[:made], draws, settling))
    for value in sorted(set(found)):
        assert sum(one <= value for one in found) / len(found) <= value + 1e-12


def test_what_cannot_be():
    with pytest.raises(ValueError, match="draws is 0, level 0.05; expected at least 1"):
        settling_hits(0, 0.05)
    with pytest.raises(ValueError, match="level 1"):
        settling_hits(20, 1)
    with pytest.raises(ValueError, match=r"hits are \(3,\); expected \(draws, columns\)"):
        stopping_draw(torch.zeros(3, dtype=bool), 1, 1)
    with pytest.raises(ValueError, match="2 of 5 draws with 1 hits; expected all draws, or 2 hits"):
        sequential_p(torch.tensor([True, False]), 5, 2)


def test_draws_of_what_is_ruled_out_may_stop_anywhere():
    hits = torch.tensor([True, False, False])
    assert sequential_p(hits, 40, 2, ruled_out=True) == 2 / 4
    assert sequential_p(torch.tensor([True, False, True, False]), 40, 2, ruled_out=True) == 2 / 3  # the second hit
    nothing_open = torch.zeros(9, 0, dtype=torch.bool)
    assert stopping_draw(nothing_open, 2, least=5) == 5
    assert stopping_draw(nothing_open[:4], 2, least=5) is None
