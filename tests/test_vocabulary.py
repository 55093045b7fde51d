import pytest

from emobench.errors import UserError
from emobench.vocabulary import CLASSES, concept_classes, concept_set, set_label


def test_labels_are_not_in_alphabetical_order() -> None:
    assert CLASSES == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def test_every_built_in_concept_speaks_for_known_classes() -> None:
    assert len(concept_set("expressions")) == 25
    for name in (*concept_set("expressions"), *concept_set("emotions")):
        assert set(concept_classes()[name]) <= set(CLASSES)
    assert concept_classes()["tense mouth and jaw"] == ("angry", "disgust")


def test_own_sets_are_read_and_checked(tmp_path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("Big  Nose\nhat\n")
    assert concept_set(str(path)) == ("big nose", "hat")
    assert set_label(str(path)) == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no concept in it"),
        ("hat\n\nnose\n", "line 2: empty concept"),
        ("hat\nHat \n", "line 2: 'hat' stands already in line 1"),
        (b"\xff\xfe\x00", "expected UTF-8 text"),
    ],
)
def test_bad_sets_name_the_line(tmp_path, text, message) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError, match=message):
        concept_set(str(path))


def test_unknown_sets_list_the_known() -> None:
    with pytest.raises(UserError, match="unknown concept set 'moods'; known: emotions, expressions"):
        concept_set("moods")
