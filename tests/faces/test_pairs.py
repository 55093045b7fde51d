"""Pairs of faces: each moves its own concept all the way, and nothing of the face that it need not move."""

import numpy as np
import pytest

from emobench.faces.synthetic.pairs import MOVES, draw_pairs
from emobench.vocabulary import concept_set


@pytest.fixture(scope="module")
def pairs():
    return draw_pairs(3, seed=5)


def test_every_concept_is_moved_all_the_way(pairs) -> None:
    assert sorted(pairs.concepts) == sorted(concept_set("expressions"))
    np.testing.assert_allclose(np.diagonal(pairs.moved), 1, atol=0.02)


def test_most_concepts_move_alone(pairs) -> None:
    """Of the others only those whose parts are the same: no more than this, whatever else the faces show."""
    along = {
        (pairs.concepts[row], pairs.concepts[column])
        for row, column in zip(*np.nonzero(np.abs(pairs.moved) >= 0.5), strict=True)
        if row != column
    }
    assert along <= {
        ("frown", "downturned mouth"),
        ("frown", "furrowed brows"),
        ("downturned mouth", "frown"),
        ("furrowed brows", "relaxed facial muscles"),
        ("raised brows", "relaxed brows"),
        ("lowered brows", "relaxed brows"),
        ("drooping brows", "relaxed brows"),
        ("furrowed brows", "relaxed brows"),
        ("wide open eyes", "relaxed eyes"),
        ("narrowed eyes", "relaxed eyes"),
        ("closed eyes", "relaxed eyes"),
        ("closed eyes", "narrowed eyes"),
        ("closed eyes", "wide open eyes"),
        ("closed eyes", "elevated upper eyelids"),
        ("elevated upper eyelids", "relaxed eyes"),
        ("tearful eyes", "relaxed eyes"),
        ("twinkling or crinkled eyes", "relaxed eyes"),
        ("tense mouth and jaw", "relaxed mouth and jaw"),
        ("tense mouth and jaw", "relaxed facial muscles"),
        ("compressed lips", "relaxed mouth and jaw"),
        ("compressed lips", "relaxed facial muscles"),
        ("frown", "relaxed brows"),
        ("frown", "relaxed facial muscles"),
        ("frown", "relaxed mouth and jaw"),
        ("smile", "relaxed mouth and jaw"),
        ("downturned mouth", "relaxed mouth and jaw"),
        ("tightened facial muscles", "relaxed facial muscles"),
    }


def test_only_the_part_of_the_face_that_shows_it_changes(pairs) -> None:
    """Brows and eyes are above the middle of the picture, the mouth below; identity and grain are the same."""
    rows = {"furrowed brows": slice(30, 48), "tearful eyes": slice(34, 48), "smile": slice(0, 14)}
    for concept, elsewhere in rows.items():
        at = pairs.concepts.index(concept)
        assert (pairs.without[at] != pairs.shown[at]).any()
        np.testing.assert_array_equal(pairs.without[at][:, elsewhere], pairs.shown[at][:, elsewhere])


def test_the_same_seed_gives_the_same_faces(pairs) -> None:
    again, other = draw_pairs(3, seed=5), draw_pairs(3, seed=6)
    np.testing.assert_array_equal(pairs.shown, again.shown)
    assert (pairs.shown != other.shown).any()
    assert set(MOVES) == set(pairs.concepts)
    with pytest.raises(ValueError, match="cannot draw 0 faces"):
        draw_pairs(0, seed=0)
