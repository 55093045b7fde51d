"""The file of contracts: it only grows, it can't be altered unseen, and it tells of second looks."""

import json

import pytest

from emobench.contracts import CHANGED, FILE, digest, flat, in_words, known, sealed
from emobench.errors import UserError

FIRST = flat({"params": {"seed": 0, "edit": {"taus": [0.0, 1.0]}}, "splits": {"test": "ab"}})
SECOND = FIRST | {"params.seed": 1}


def test_each_contract_stands_in_the_file_once_in_order(tmp_path) -> None:
    assert known(tmp_path) == []
    assert [sealed(tmp_path, one) for one in (FIRST, SECOND, FIRST)] == [digest(FIRST), digest(SECOND), digest(FIRST)]
    assert known(tmp_path) == [FIRST, SECOND]


def test_the_digest_is_of_the_content_and_not_of_the_order() -> None:
    assert digest(dict(reversed(FIRST.items()))) == digest(FIRST) != digest(SECOND)


@pytest.mark.parametrize("number", [0, 1])
def test_a_contract_that_was_altered_afterwards_is_found(tmp_path, number) -> None:
    sealed(tmp_path, FIRST)
    sealed(tmp_path, SECOND)
    noted = json.loads((tmp_path / FILE).read_text())
    noted["contracts"][number]["contract"]["params.edit.taus"] = [0.5]
    (tmp_path / FILE).write_text(json.dumps(noted))
    with pytest.raises(UserError, match=f"contract {number + 1} was altered"):
        known(tmp_path)
    with pytest.raises(UserError, match="was altered"):
        sealed(tmp_path, FIRST)


@pytest.mark.parametrize("text", ["", "[]", '{"contracts": [{"digest": "a"}]}', '{"contracts": 3}'])
def test_what_is_no_such_file(tmp_path, text) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match="is no file of contracts"):
        known(tmp_path)


def test_words_for_a_first_look_and_for_later_ones() -> None:
    now = {key: value for key, value in FIRST.items() if key.startswith("params")}
    assert in_words([]) == in_words([], now) == ""
    assert in_words([FIRST], now) == f"{digest(FIRST)[:12]}, unchanged since its test was first read"
    assert "2 contracts have read it, different in params.seed" in in_words([FIRST, SECOND], now)
    assert digest(FIRST)[:12] in in_words([FIRST, SECOND], now)
    later = in_words([FIRST], now | {"params.edit.taus": [2.0], "params.new": 1})
    assert later.startswith(f"{CHANGED} read: params.edit.taus, params.new (")
    many = {f"params.{number}": number for number in range(9)}
    assert "params.5 and 3 more" in in_words([{}], many)


def test_what_would_be_done_is_held_against_the_contract_that_is_most_alike() -> None:
    far = {**dict.fromkeys(FIRST, 9), "params.seed": 5}
    current = FIRST | {"params.seed": 7}
    said = in_words([FIRST, far], current)
    assert said == f"{CHANGED} read: params.seed (contract {digest(FIRST)[:12]}); a run reads it once more"
