import pytest

from emobench.errors import UserError
from emobench.vocabulary import built_in_sets, check_set_names, concept_classes, concept_set, set_label
from emobench.vocabulary.class_names import BASIC


def test_built_in_sets() -> None:
    assert built_in_sets() == ("emotions", "expressions")
    assert concept_set("emotions") == (), "they are the classes of the data"
    assert len(concept_set("expressions")) == 25


def test_every_built_in_concept_speaks_for_known_classes() -> None:
    for name in concept_set("expressions"):
        assert set(concept_classes()[name]) <= set(BASIC)
    assert concept_classes()["tense mouth and jaw"] == ("angry", "disgust")


def test_own_sets_are_named_by_their_stem() -> None:
    assert [set_label(name) for name in ("concepts/mine.csv", "concepts/a/Two.TXT", "emotions")] == [
        "mine",
        "Two",
        "emotions",
    ]


def test_files_lie_in_the_watched_folder_and_every_label_is_one() -> None:
    check_set_names(["emotions", "concepts/mine.csv", "concepts/deep/other.txt"])
    cases = {
        r"concept_sets is \[\]": [],
        "each once": ["concepts/a.txt", "concepts/a.csv"],
        "known: emotions, expressions, or a .txt or .csv file in concepts/": ["moods"],
        "has the file mine.csv; expected one in concepts/": ["mine.csv"],
        "has the file concepts/../x.csv": ["concepts/../x.csv"],
        "has the file /tmp/x.csv": ["/tmp/x.csv"],
        "ends neither in _names nor _digest": ["concepts/images_digest.txt"],
    }
    for message, names in cases.items():
        with pytest.raises(UserError, match=message):
            check_set_names(names)


def test_unknown_sets_list_the_known() -> None:
    with pytest.raises(UserError, match="unknown concept set 'moods'; known: emotions, expressions"):
        concept_set("moods")
