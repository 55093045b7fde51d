import dataclasses

import numpy as np
import pandas as pd
import pytest
from presets import preset

from emobench.errors import UserError
from emobench.reporting import tables
from emobench.reporting.results import Results
from emobench.vocabulary.class_names import BASIC


@pytest.fixture(scope="module")
def results(real) -> Results:
    return Results(*real)


@pytest.mark.parametrize("images", ["val", "test", "test_noleaks", "val_test"])
def test_confusion_counts_what_a_loop_counts(results, images):
    config_id = results.paper_id
    expected = np.zeros((7, 7), int)
    wanted = set(results.imageset.evaluation_rows()[images].tolist())
    predictions = results.predictions[results.config_ids.index(config_id)]
    for row, prediction in zip(results.image_rows, predictions, strict=True):
        if row in wanted:
            expected[results.imageset.labels[row], prediction] += 1
    found = results.confusion(config_id, images)
    assert (found == expected).all()
    assert np.trace(found) / found.sum() == pytest.approx(results.config(config_id, images)["accuracy"])


def test_named_configurations(results):
    assert results.config(results.baseline_id)["arm"] == "baseline"
    paper = results.config(results.paper_id)
    assert (paper["arm"], paper["tau"], paper["factor"]) == ("similarity", 0.0, 1.5)
    assert results.chosen_id == results.verdicts["config_id"].iloc[0]
    assert set(results.shown_edits().values()) == {results.paper_id, results.chosen_id}


def test_unmeasured_concepts_are_those_without_any_number(real):
    assert Results(*real).unmeasured == []
    other = Results(*real)
    other.annotations["flared nostrils"] = np.nan
    assert other.unmeasured == ["flared nostrils"]


def test_published_accuracy_stands_beside_fer2013_only(results):
    assert results.published is None
    data = preset("fer2013").data
    assert Results(dataclasses.replace(results.params, data=data), results.layout).published == pytest.approx(
        4983 / 7178, abs=1e-8
    )


@pytest.mark.parametrize(
    ("path", "stage", "read"),
    [
        ("artifacts/small/units.parquet", "dissect", lambda r: r.units),
        ("artifacts/small/predictions.npy", "edit", lambda r: r.predictions),
        ("reports/small/clip.json", "clip", lambda r: r.metrics("clip")),
        ("reports/small/history.csv", "network", lambda r: r.plot("history")),
        ("reports/small/concept_classes.csv", "embed", lambda r: r.concept_classes),
    ],
)
def test_missing_file_names_the_stage(real_copy, path, stage, read):
    params, layout = real_copy
    (layout.root / path).unlink()
    with pytest.raises(UserError, match=f"{path.split('/')[-1]}; run the stage '{stage}' first"):
        read(Results(params, layout))


def test_broken_files_are_named(real_copy):
    params, layout = real_copy
    (layout.artifacts / "units.parquet").write_bytes(b"PAR1 no")
    (layout.reports / "clip.json").write_text("{")
    with pytest.raises(UserError, match="units.parquet can't be read"):
        _ = Results(params, layout).units
    with pytest.raises(UserError, match="clip.json is not valid JSON"):
        Results(params, layout).metrics("clip")


def test_layers_are_in_forward_order_whatever_the_file_says(results, real_copy):
    params, layout = real_copy
    results.layers.sample(frac=1, random_state=1).to_parquet(layout.artifacts / "layers.parquet")
    pd.testing.assert_frame_equal(Results(params, layout).layers, results.layers)


def test_top_units_are_the_most_similar_living_ones(results):
    top = tables.top_units(results.units, 2, results.layer_names)
    assert list(dict.fromkeys(top["layer"])) == list(dict.fromkeys(results.layers["layer"]))
    for (layer, name), rows in top.groupby(["layer", "concept_set"]):
        units = tables.of_dissection(results.units, name, "soft_wpmi")
        alive = units[(units["layer"] == layer) & ~units["dead"]]
        assert rows["unit"].tolist() == alive.nlargest(2, "similarity")["unit"].tolist()
        assert rows["rank"].tolist() == [1, 2]


def test_description_shares_count_right_units_and_chance():
    units = pd.DataFrame(
        {
            "unit": [0, 1, 2, 3],
            "description": ["smile", "smile", "frown", "hat"],
            "label_accuracy": [0.6, 0.4, 1.0, np.nan],
            "chance": [0.5, 0.5, 0.5, np.nan],
        }
    )
    shares = tables.description_shares(units, images=5).set_index("description")
    assert shares["right"].to_dict() == {"smile": 1, "frown": 1}
    assert shares["share"].to_dict() == {"smile": 0.5, "frown": 0.5}
    # With chance 0.5, 3 or more of 5 come in half of the cases, for each of the three units that speak for a class.
    assert shares["expected"].to_dict() == pytest.approx({"smile": 2 / 3, "frown": 1 / 3})


def test_differences_are_against_the_baseline_in_points(results):
    table = tables.differences(results, "test").set_index("config_id")
    edited = results.config(results.paper_id)["accuracy"] - results.config("baseline")["accuracy"]
    assert table.loc[results.paper_id, "points"] == pytest.approx(100 * edited)
    assert "baseline" not in table.index


def test_per_class_of_an_absent_class_is_nan():
    table = np.zeros((7, 7), int)
    table[0, :2] = [3, 1]
    table[1, 1] = 4
    found = tables.per_class(table, BASIC).set_index("class")
    assert found.loc["angry", "recall"] == 0.75
    assert found.loc["disgust", "precision"] == 0.8
    assert found.loc["angry", "f1"] == pytest.approx(6 / 7)
    assert found.loc["sad", ["recall", "precision", "f1"]].isna().all()
