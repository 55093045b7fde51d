import pytest

from emobench.errors import UserError
from emobench.registry import Registry


def test_duplicates_are_refused_and_unknown_names_list_the_known() -> None:
    scores = Registry("score")
    scores.register("one")(lambda: 1)
    assert scores["one"]() == 1
    assert len(scores) == 1
    with pytest.raises(ValueError, match="score 'one' is already registered"):
        scores.register("one")(lambda: 2)
    with pytest.raises(UserError, match="unknown score 'two'; known: one"):
        scores["two"]
