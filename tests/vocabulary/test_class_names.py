import pytest

from emobench.errors import UserError
from emobench.vocabulary.class_names import BASIC, canonical_class, canonical_order, class_names, synonyms, whole_number


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Happiness", "happy"), ("FEARFUL", "fear"), ("disgusted", "disgust"), ("Anger", "angry"),
        ("surprised", "surprise"), (" Sadness ", "sad"), ("neutral", "neutral"), ("Contempt", "contempt"),
        ("Slightly_Bored", "slightly bored"), ("Ärger", "ärger"), ("A\u0308rger", "ärger"),
    ],
)  # fmt: skip
def test_words_for_the_classes(written, name) -> None:
    assert canonical_class(written) == name


def test_no_synonym_is_a_class_and_all_lead_to_one() -> None:
    known = {*BASIC, "contempt"}
    assert set(synonyms().values()) <= known
    assert not set(synonyms()) & known


def test_the_order_of_classes_that_nobody_stated() -> None:
    assert canonical_order(reversed(sorted([*BASIC, "contempt", "bored"]))) == (*BASIC, "contempt", "bored")


@pytest.mark.parametrize(
    ("text", "number"),
    [("3", 3), ("3.0", 3), (" 7. ", 7), ("3.5", None), ("-1", None), ("nan", None), ("", None)],
)
def test_whole_numbers(text, number) -> None:
    assert whole_number(text) == number


def test_two_words_for_one_class_are_one_class() -> None:
    found = class_names(["anger", "angry", "Sad"], (), "here")
    assert (found.classes, found.place) == (("angry", "sad"), {"anger": 0, "angry": 0, "Sad": 1})
    assert found.said == ("classes by synonym: anger is angry",)


@pytest.mark.parametrize(
    ("found", "stated", "message"),
    [
        (["happy", "7"], ("happy", "sad"), "unknown class in here: '7'; known: happy, sad"),
        (
            ["0", "1"],
            (),
            r"here: the classes are numbers \(0 to 1\); state their names in order as params data.classes",
        ),
        (["0", "2"], ("happy", "sad"), "class number 2; expected 0 to 1, one for each of the 2 names"),
        (["1", "2"], ("a", "b", "c"), "run from 1 to 2, so that it stays open whether they count from 0 or 1"),
        (["happy"], (), r"here: has 1 classes \(happy\); expected 2 to 256"),
        ([f"c{k}" for k in range(257)], (), "has 257 classes"),
        (["sad"], ("happiness", "happy"), "data.classes names 'happy' twice; expected at least two names, each once"),
        (["sad"], ("happy",), r"data.classes is \['happy'\]; expected at least two names"),
    ],
)
def test_what_is_no_set_of_classes(found, stated, message) -> None:
    with pytest.raises(UserError, match=message):
        class_names(found, stated, "here")
