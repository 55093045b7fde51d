import json

import pytest

from emobench.errors import UserError
from emobench.files import file_digest
from emobench.vocabulary import concept_classes, concept_set
from emobench.vocabulary.card import check_concepts, load_vocabulary, save_vocabulary, vocabulary_of

FIVE = ("angry", "happy", "sad", "bored", "neutral")
NAMES = ["emotions", "expressions", "concepts/mine.csv", "concepts/words.txt"]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "concepts").mkdir()
    (tmp_path / "concepts" / "mine.csv").write_text("concept,classes\nyawn,bored\nfist,Anger|angry\n<b>hat</b>,\n")
    (tmp_path / "concepts" / "words.txt").write_text("smile\nhappiness\nbored\nodd\ntense mouth and jaw\nclosed eyes\n")
    return tmp_path


def test_classes_are_those_of_the_data(root) -> None:
    vocabulary = vocabulary_of(NAMES, FIVE, root)
    assert list(vocabulary.sets) == ["emotions", "expressions", "mine", "words"]
    assert vocabulary.speaks("emotions") == {name: (name,) for name in FIVE}
    assert vocabulary.concepts("expressions") == concept_set("expressions")
    for concept, classes in vocabulary.speaks("expressions").items():
        assert classes == tuple(name for name in concept_classes()[concept] if name in FIVE)
    assert vocabulary.speaks("expressions")["raised brows"] == (), "surprise is no class of theirs"
    assert vocabulary.speaks("mine") == {"yawn": ("bored",), "fist": ("angry",), "<b>hat</b>": ()}
    assert vocabulary.speaks("words") == {
        "smile": ("happy",), "happiness": ("happy",), "bored": ("bored",), "odd": (),
        "tense mouth and jaw": ("angry",), "closed eyes": ("sad", "neutral"),
    }  # fmt: skip
    assert list(vocabulary.every) == list(dict.fromkeys([*FIVE, *concept_set("expressions"), "yawn", "fist",
        "<b>hat</b>", "happiness", "odd"]))  # fmt: skip


def test_the_card_comes_back_the_same_without_the_files(root) -> None:
    vocabulary = vocabulary_of(NAMES, FIVE, root)
    save_vocabulary(root / "data", vocabulary, NAMES, root)
    digests = [entry["sha256"] for entry in json.loads((root / "data" / "vocabulary.json").read_text())["sets"]]
    assert digests == [None, None, *(file_digest(root / name) for name in NAMES[2:])]
    (root / "concepts" / "mine.csv").unlink()
    assert load_vocabulary(root / "data") == vocabulary


def test_a_class_that_the_data_lack_is_named(root) -> None:
    (root / "concepts" / "mine.csv").write_text("concept,classes\nfist,furious\n")
    with pytest.raises(UserError, match=r"class in concepts/mine.csv, concept 'fist': 'furious'; known: angry, happy"):
        check_concepts(NAMES, FIVE, root)
    check_concepts(NAMES, (), root)
    (root / "concepts" / "words.txt").unlink()
    with pytest.raises(UserError, match=r"unknown concept set 'concepts/words.txt'"):
        check_concepts(NAMES, (), root)


def test_a_missing_or_foreign_card_is_one_line(tmp_path) -> None:
    with pytest.raises(UserError, match="run the stage 'prepare' first"):
        load_vocabulary(tmp_path)
    (tmp_path / "vocabulary.json").write_text('{"classes": ["a"]}')
    with pytest.raises(UserError, match="is not a vocabulary"):
        load_vocabulary(tmp_path)
    with pytest.raises(UserError, match="unknown concept set 'odd'; known: emotions"):
        vocabulary_of(["emotions"], FIVE).concepts("odd")
