import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from reporting.small_results import small_params, write_results

from emobench.reporting import tables
from emobench.reporting.page import render_page
from emobench.reporting.results import Results
from emobench.reporting.unit_cards import best_units, image_strip, unit_cards


@pytest.fixture
def results(tmp_path) -> Results:
    params = small_params()
    return Results(params, write_results(tmp_path, params))


def own(results):
    """The rows of the dissection that the edits follow, alive ones."""
    edit = results.params.edit
    rows = tables.of_dissection(results.units, edit.concept_set, edit.similarity_fn)
    return rows[~rows["dead"].astype(bool)]


def test_the_edited_layer_and_the_two_with_the_most_significant_units_are_shown(results):
    results.layers["prop_significant"] = results.layers["layer"].isin(["conv2a", "conv3b"]).astype(float)
    _, rows = best_units(results)
    expected = {"conv2a", "conv3b", tables.edited_layer(results)}
    assert rows["layer"].drop_duplicates().tolist() == [name for name in results.layer_names if name in expected]


def test_the_best_unit_of_every_description_comes_first(results):
    results.units["measured_pearson"] = np.linspace(-1, 1, len(results.units))
    evidence, rows = best_units(results)
    assert evidence == "measured_pearson"
    for layer, shown in rows.groupby("layer", sort=False):
        every = own(results)
        every = every[every["layer"] == layer].sort_values("measured_pearson", ascending=False)
        best = every.drop_duplicates("description")
        most = min(len(best), results.params.report.top_units)
        assert shown["unit"].tolist()[:most] == best["unit"].tolist()[:most]
        assert len(shown) == min(results.params.report.top_units, len(every))


@pytest.mark.parametrize(
    ("gone", "left"),
    [(["measured_pearson"], "clip_pearson"), (["measured_pearson", "clip_pearson"], "similarity")],
)
def test_without_measured_evidence_the_next_best_ranks(results, gone, left):
    for name in ("measured_pearson", "clip_pearson"):
        results.units[name] = np.nan if name in gone else 0.5
    assert best_units(results)[0] == left


def test_a_card_is_called_what_it_is_and_leads_into_the_atlas(results):
    results.units["measured_pearson"] = 0.25
    cards = unit_cards(results, pixels=False)
    page = render_page(results, [], pixels=False)
    assert cards["function"] == results.params.edit.similarity_fn
    for layer, shown in cards["layers"].items():
        for card in shown:
            assert f'<a href="atlas.html#unit={layer}/{card["unit"]}">unit {card["unit"]}</a>' in page
            assert card["evidence"] == "r 0.25"
    assert "most interpretable" not in page
    assert not re.search(r"similarity (-inf|nan)", page)


def test_strip_shows_the_images_side_by_side():
    images = np.stack([np.full((48, 48), value, np.uint8) for value in (0, 128, 255)])
    data = image_strip(images).split(",")[1]
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L")).astype(int)
    assert strip.shape == (48, 144)
    assert [strip[24, x] for x in (24, 72, 120)] == pytest.approx([0, 128, 255], abs=6)


def test_below_a_strip_stands_what_was_drawn_in_its_images(results, monkeypatch):
    results.units["measured_pearson"] = 0.25
    cards = unit_cards(results, pixels=True)
    assert cards["known"] == "drawn"
    for layer, shown in cards["layers"].items():
        for card in shown:
            row = own(results).set_index(["layer", "unit"]).loc[(layer, card["unit"])]
            concept = results.annotations[row["description"]]
            top = [f"{concept.iloc[image]:.1f}" for image in row["top_images"][: results.params.report.top_images]]
            assert card["shown"] == f"{' '.join(top)} (all {concept.mean():.1f})"
    assert not unit_cards(results, pixels=False)["known"]
    monkeypatch.setattr(results, "annotations", results.annotations * np.nan)
    assert not unit_cards(results, pixels=True)["known"]
