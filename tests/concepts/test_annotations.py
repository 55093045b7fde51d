import numpy as np
import pandas as pd
import pytest

from emobench.concepts import annotations
from emobench.concepts.annotations import EXPRESSIONS as CONCEPTS
from emobench.concepts.annotations import annotate, look_at_table
from emobench.errors import UserError
from emobench.faces.card import describe
from emobench.faces.imageset import ImageSet
from emobench.vocabulary.card import Vocabulary, vocabulary_of
from emobench.vocabulary.class_names import BASIC

BUILT_IN = vocabulary_of(["emotions", "expressions"], BASIC)
OWN = Vocabulary(("happy", "bored"), {"mine": {"yawn": ("bored",), "<b>hat</b>": (), "grübchen": ("happy",)}})
IDS = ["a/1.png", "a/2.png", "b/1.png", "b/2.png"]


@pytest.fixture
def imageset():
    return ImageSet(np.zeros((4, 48, 48), np.uint8), pd.DataFrame({"image_id": IDS, "label": 0}))


def from_csv(imageset, folder, text, vocabulary=BUILT_IN):
    path = folder / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return annotate(imageset, vocabulary, "file", given=path, work=folder)


def from_parquet(imageset, folder, columns):
    path = folder / "mine.parquet"
    pd.DataFrame(columns).to_parquet(path, index=False)
    return annotate(imageset, BUILT_IN, "file", given=path, work=folder)


def test_none_is_a_full_table_of_nan(imageset, tmp_path):
    table = annotate(imageset, BUILT_IN, "none", given=tmp_path / "nothing", work=tmp_path)
    assert list(table) == ["image_id", *CONCEPTS]
    assert len(CONCEPTS) == 25
    assert list(table["image_id"]) == IDS
    assert table[list(CONCEPTS)].isna().all(axis=None)
    assert set(table[list(CONCEPTS)].dtypes) == {np.dtype(float)}


def test_an_unknown_source_names_the_known_ones(imageset, tmp_path):
    with pytest.raises(UserError, match="unknown annotate.source 'guess'; known: none, truth, landmarks, file"):
        annotate(imageset, BUILT_IN, "guess", given=tmp_path, work=tmp_path)


def test_truth_is_copied_without_its_other_columns(imageset, tmp_path):
    values = np.random.default_rng(0).uniform(size=(4, 25))
    truth = pd.DataFrame(values, columns=CONCEPTS).assign(image_id=IDS, yaw=0.5)
    truth.to_parquet(tmp_path / "truth.parquet")
    table = annotate(imageset, BUILT_IN, "truth", given=tmp_path / "truth.parquet", work=tmp_path)
    assert list(table) == ["image_id", *CONCEPTS]
    np.testing.assert_array_equal(table[list(CONCEPTS)], values)


@pytest.mark.parametrize("columns", [None, ["image_id"], ["image_id", *CONCEPTS[:-1]]])
def test_images_without_known_truth_are_refused(imageset, tmp_path, columns):
    path = tmp_path / "truth.parquet"
    if columns:
        pd.DataFrame({"image_id": IDS} | dict.fromkeys(CONCEPTS, 0.5))[columns].to_parquet(path)
    with pytest.raises(
        UserError, match="holds no truth about these images; expected synthetic faces, or another source"
    ):
        annotate(imageset, BUILT_IN, "truth", given=path, work=tmp_path)


def test_truth_of_other_images_is_refused(imageset, tmp_path):
    path = tmp_path / "truth.parquet"
    pd.DataFrame({"image_id": IDS[::-1]} | dict.fromkeys(CONCEPTS, 0.5)).to_parquet(path)
    with pytest.raises(UserError, match="is not of these images; run the stage 'prepare' again"):
        annotate(imageset, BUILT_IN, "truth", given=path, work=tmp_path)


def test_csv_is_put_in_index_order_and_the_rest_is_nan(imageset, tmp_path):
    table = from_csv(imageset, tmp_path, "smile,image_id,frown\n0.25,b/1.png,1\n,a/1.png,0\nNaN,b/2.png,NA\n")
    np.testing.assert_array_equal(table["smile"], [np.nan, np.nan, 0.25, np.nan])
    np.testing.assert_array_equal(table["frown"], [0, np.nan, 1, np.nan])
    assert table.drop(columns=["image_id", "smile", "frown"]).isna().all(axis=None)
    assert list(table["image_id"]) == IDS


def test_parquet_gives_the_same(imageset, tmp_path):
    table = from_parquet(imageset, tmp_path, {"image_id": IDS[2:], "smile": [0.5, np.nan]})
    np.testing.assert_array_equal(table["smile"], [np.nan, np.nan, 0.5, np.nan])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image_id,grin\na/1.png,1\n",
            r"mine.csv has the columns \['image_id', 'grin'\]; expected image_id and at least one concept of "
            r"concept_sets \(angry, disgust, .*\.\.\.\)",
        ),
        ("name,smile\na/1.png,1\n", r"has the columns \['name', 'smile'\]; expected image_id"),
        ("image_id,smile,Smile \na/1.png,1,1\n", "'smile' in two columns"),
        ("image_id,smile\n", "mine.csv measures none of the . images; expected rows"),
        ("smile\n1\n", r"has the columns \['smile'\]; expected image_id and at least one concept"),
        ("image_id\na/1.png\n", "expected image_id and at least one concept"),
        ("image_id,smile\na/1.png,1\nc/9.png,1\n", "row 2: no image 'c/9.png' in the set; expected ids like 'a/1.png'"),
        ("image_id,smile\na/1.png,1\na/2.png,1\na/1.png,1\n", "row 3: image_id 'a/1.png' stands already"),
        ("image_id,smile\na/1.png,1\na/2.png,1.01\n", "row 2: smile is '1.01'; expected a number from 0 to 1"),
        ("image_id,smile\na/1.png,-0.1\n", "row 1: smile is '-0.1'"),
        ("image_id,smile\na/1.png,inf\n", "row 1: smile is 'inf'"),
        ("image_id,smile\na/1.png,much\n", "row 1: smile is 'much'; expected a number from 0 to 1"),
        ("image_id,smile\na/1.png,1,1,1\na/2.png,1,1,1,1\n", "no readable csv table"),
        ("", "no readable csv table"),
    ],
)
def test_a_wrong_csv_names_file_row_and_cause(imageset, tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        from_csv(imageset, tmp_path, text)


def test_a_wrong_value_in_parquet_is_named(imageset, tmp_path):
    with pytest.raises(UserError, match=r"mine.parquet, row 2: frown is '1\.5'"):
        from_parquet(imageset, tmp_path, {"image_id": IDS[:2], "frown": [0.5, 1.5]})


def test_a_missing_or_other_file_is_refused(imageset, tmp_path):
    with pytest.raises(UserError, match="no table .*none.csv"):
        annotate(imageset, BUILT_IN, "file", given=tmp_path / "none.csv", work=tmp_path)
    with pytest.raises(UserError, match="expected a table, .csv or .parquet"):
        annotate(imageset, BUILT_IN, "file", given=tmp_path / "faces.xlsx", work=tmp_path)
    (tmp_path / "false.parquet").write_text("image_id,smile\n")
    with pytest.raises(UserError, match="false.parquet is no readable parquet table"):
        annotate(imageset, BUILT_IN, "file", given=tmp_path / "false.parquet", work=tmp_path)
    (tmp_path / "latin.csv").write_bytes("image_id,smile\ncaf\xe9,1\n".encode("latin-1"))
    with pytest.raises(UserError, match="latin.csv is no readable csv table"):
        annotate(imageset, BUILT_IN, "file", given=tmp_path / "latin.csv", work=tmp_path)


def test_landmarks_are_scored_over_the_set(tmp_path, monkeypatch):
    imageset = ImageSet(
        np.zeros((12, 48, 48), np.uint8), pd.DataFrame({"image_id": [f"i{n}" for n in range(12)], "label": 0})
    )
    points = np.random.default_rng(1).normal(size=(12, 478, 3))
    points[1] = np.nan
    asked = []
    monkeypatch.setattr(annotations, "find_landmarks", lambda *args, digest: (asked.append((*args, digest)), points)[1])
    table = annotate(imageset, BUILT_IN, "landmarks", given=tmp_path / "m.task", work=tmp_path)
    assert asked == [(imageset.images, tmp_path / "m.task", tmp_path, imageset.digest())]
    unmeasured = ["tearful eyes", "tightened facial muscles"]
    scores = table.drop(columns=["image_id", *unmeasured])
    np.testing.assert_allclose(scores["smile"].dropna().sort_values(), (np.arange(11) + 0.5) / 11)
    assert scores.loc[1].isna().all()
    assert scores.drop(1).notna().all(axis=None)
    assert table[unmeasured].isna().all(axis=None)


def test_a_set_without_any_face_is_refused(imageset, tmp_path, monkeypatch):
    monkeypatch.setattr(annotations, "find_landmarks", lambda *args, digest: np.full((4, 478, 3), np.nan))
    with pytest.raises(UserError, match="no face found in any of the 4 images"):
        annotate(imageset, BUILT_IN, "landmarks", given=tmp_path / "m.task", work=tmp_path)


def test_any_concept_of_the_vocabulary_may_be_measured_and_strangers_are_left_out(imageset, tmp_path, capsys):
    text = "\ufeffGrübchen;image_id;note;<b>hat</b>;smile\n0.25;b/1.png;x;1;0.5\n;a/1.png;y;0;0.5\n"
    table = from_csv(imageset, tmp_path, text, OWN)
    assert list(table) == ["image_id", "<b>hat</b>", "grübchen"], "in the vocabulary's order, only what was measured"
    np.testing.assert_array_equal(table["grübchen"], [np.nan, np.nan, 0.25, np.nan])
    np.testing.assert_array_equal(table["<b>hat</b>"], [0, np.nan, 1, np.nan])
    said = capsys.readouterr().err
    assert "left out columns that no concept set has: note, smile\n" in said
    assert said.endswith("mine.csv: measures 2 of 4 images; nothing is known of the others\n")


def test_a_table_that_was_cut_off_within_a_row_is_refused(imageset, tmp_path):
    with pytest.raises(UserError, match=r"mine\.csv is no readable csv table: row 2 has 2 cells, the header 3"):
        from_csv(imageset, tmp_path, "image_id,grübchen,<b>hat</b>\nb/1.png,0.25,\na/1.png,0.5", OWN)


def test_own_concepts_follow_the_expressions(imageset, tmp_path):
    both = Vocabulary(BASIC, {**BUILT_IN.sets, **OWN.sets})
    table = from_csv(imageset, tmp_path, "image_id,yawn,smile,happy\na/2.png,1,0,0.5\n", both)
    assert list(table) == ["image_id", *CONCEPTS, "happy", "yawn"]
    assert table.iloc[1].dropna().to_dict() == {"image_id": "a/2.png", "smile": 0, "happy": 0.5, "yawn": 1}


def test_without_expressions_none_measures_nothing(imageset, tmp_path):
    assert list(annotate(imageset, OWN, "none", given=tmp_path, work=tmp_path)) == ["image_id"]


def test_truth_is_kept_whatever_the_vocabulary(imageset, tmp_path):
    pd.DataFrame({"image_id": IDS} | dict.fromkeys(CONCEPTS, 0.5)).to_parquet(tmp_path / "truth.parquet")
    table = annotate(imageset, OWN, "truth", given=tmp_path / "truth.parquet", work=tmp_path)
    assert list(table) == ["image_id", *CONCEPTS]


def test_a_smoke_run_takes_its_own_images_of_the_whole_table(imageset, tmp_path):
    index = imageset.index.assign(split="train")
    card = describe(imageset.images, index, BASIC, source="a test", private=False, limited=True)
    limited = ImageSet(imageset.images, index, card)
    table = from_csv(limited, tmp_path, "image_id,smile\nc/9.png,1\na/2.png,0.5\n")
    np.testing.assert_array_equal(table["smile"], [np.nan, 0.5, np.nan, np.nan])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no readable csv table"),
        ("image_id,smile\na,0.5\nb,50\n", "row 2: smile is '50'"),
        ("smile\n1\n", "image_id"),
    ],
)
def test_a_table_is_looked_at_before_there_are_images(tmp_path, text, message):
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        look_at_table(path, BUILT_IN)
    path.write_text("image_id,smile,frown\na,0.5,\n")
    assert look_at_table(path, BUILT_IN) == "1 rows measure 2 concepts"
