import base64
import io
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from kinds import LAYERS
from PIL import Image
from reporting.real_run import as_fer2013
from reporting.small_atlas import FULL, SETS, SHOWN, small_data, small_tables

from emobench.errors import UserError
from emobench.reporting import atlas, packing
from emobench.reporting.results import Results

SIZES = dict.fromkeys(LAYERS, 6)
ABOUT = {"name": "small", "pictures": "drawn faces", "private": False}


def codes(column) -> list[int]:
    """The codes again, bit by bit."""
    data = base64.b64decode(column["codes"])
    bits = [byte >> place & 1 for byte in data for place in range(8)]
    size = column["bits"]
    return [sum(bits[at * size + bit] << bit for bit in range(size)) for at in range(column["length"])]


def unpacked(column) -> list:
    found = []
    for code in codes(column):
        if "values" in column:
            found.append(column["values"][code] if code < len(column["values"]) else np.nan)
        else:
            found.append(np.nan if code == 2 ** column["bits"] - 1 else column["low"] + column["step"] * code)
    return found


numbers = st.floats(-1e6, 1e6, allow_subnormal=False) | st.sampled_from([np.nan, np.inf, -np.inf])


@settings(deadline=None, max_examples=60)
@given(arrays.arrays(np.float64, st.integers(1, 400), elements=numbers), st.booleans())
def test_packed_numbers_come_back_within_half_a_step(values, wide):
    column = packing.packed(values, wide=wide)
    finite = values[np.isfinite(values)]
    back = np.array(unpacked(column))
    assert np.isnan(back).tolist() == (~np.isfinite(values)).tolist()
    steps = (2**16 if wide else 2**8) - 2
    error = 0.51 * (finite.max() - finite.min()) / steps if len(finite) else 0
    assert np.all(np.abs(back[np.isfinite(values)] - finite) <= error + 1e-5 * np.abs(finite) + 1e-12)


def test_few_different_values_are_kept_as_they_are():
    values = np.array([0.2, np.nan, 0.4, 1.0, 0.2] * 100)
    column = packing.packed(values)
    assert column["bits"] == 2
    np.testing.assert_array_equal(unpacked(column), values)
    assert packing.packed(np.array([True, False] * 9))["bits"] == 1


@pytest.mark.parametrize(("count", "bits"), [(1, 1), (2, 1), (3, 2), (7, 3), (32, 5), (33, 6), (256, 8), (257, 16)])
def test_words_take_the_fewest_bits_that_hold_them(count, bits):
    words = np.array([f"word {number:03}" for number in range(count)] * 2)[::-1]
    column = packing.packed(words)
    assert column["bits"] == bits
    assert unpacked(column) == words.tolist()


def test_similarities_come_back_finest_near_the_best():
    generator = np.random.default_rng(0)
    similarity = generator.normal(-40, 20, (50, 25))
    similarity[0, 3], similarity[1] = -np.inf, 2.5
    found = packing.stepped(similarity)
    spread = unpacked(found["spread"])
    table = np.array(codes(found)).reshape(50, 25)
    for unit in range(50):
        for concept in range(25):
            value, code = similarity[unit, concept], table[unit, concept]
            if value == -np.inf:
                assert code == 255
                continue
            below = similarity[unit].max() - value
            room = max(
                similarity[unit][np.isfinite(similarity[unit])].max()
                - similarity[unit][np.isfinite(similarity[unit])].min(),
                1e-9,
            )
            assert abs(spread[unit] * (code / 254) ** 2 - below) <= 2 * np.sqrt(below * room) / 254 + room / 1e4


def test_every_unit_is_there_in_the_networks_order_whatever_the_tables_order():
    units, profiles, effects = small_tables(SIZES)
    data = atlas.atlas_data(units, profiles, effects, SHOWN)
    layers = [LAYERS[int(value)] for value in unpacked(data["layer"])]
    assert [f"{layer}/{unit}" for layer, unit in zip(layers, codes(data["unit"]), strict=True)] == [
        f"{layer}/{unit}" for layer in LAYERS for unit in range(6)
    ]
    mixed = units.sample(frac=1, random_state=1)
    again = atlas.atlas_data(mixed, profiles, effects.sample(frac=1, random_state=1), SHOWN)
    pages = [atlas.render_atlas(held, **ABOUT) for held in (data, again)]
    assert pages[0] == pages[1]


def test_columns_hold_the_tables_numbers():
    units, profiles, effects = small_tables(SIZES)
    data = atlas.atlas_data(units, profiles, effects, SHOWN)
    assert [one["name"] for one in data["sets"]] == list(SETS)
    for one in data["sets"]:
        table = units[units["concept_set"] == one["name"]]
        assert unpacked(one["words"]["description"]) == table["description"].tolist()
        assert unpacked(one["words"]["runner_up"]) == table["runner_up"].tolist()
        assert unpacked(one["significant"]) == (table["q_value"] < 0.05).tolist()
        for key in ("similarity", "q_value", "measured_auprc", "lift"):
            np.testing.assert_allclose(unpacked(one["columns"][key]), table[key], rtol=1e-5)
    np.testing.assert_allclose(unpacked(data["activation"]), profiles["class_activation"].ravel(), atol=0.02)
    loss = np.array(unpacked(data["shared"]["delta_nll"]))
    assert np.isfinite(loss).sum() == len(effects) == 12
    np.testing.assert_allclose(loss[8 * 6 : 10 * 6], effects["delta_nll"], rtol=1e-5)
    assert sum(unpacked(data["shared"]["dead"])) == len(LAYERS)
    assert data["speaks"]["closed eyes"] == ["sad", "neutral", "fear"]


def test_columns_that_are_not_there_are_not_shown():
    units, profiles, effects = small_tables(SIZES, held_out=False)
    data = atlas.atlas_data(units.drop(columns="clarity"), {}, effects.head(0), SHOWN)
    keys = ["similarity", "margin", "label_accuracy", "chance", "lift", "polysemanticity"]
    assert [column["key"] for column in data["columns"]] == keys
    assert not {"significant", "profile"} & set(data["sets"][0])
    assert "activation" not in data
    assert "What the columns mean" in atlas.render_atlas(data, **ABOUT)
    unmeasured = small_tables(SIZES)[0].assign(measured_f1=np.nan)
    shown = {column["key"] for column in atlas.atlas_data(unmeasured, profiles, effects, SHOWN)["columns"]}
    assert {"clip_f1", "measured_iou", "delta_nll"} < shown
    assert "measured_f1" not in shown


def test_tables_of_other_units_are_refused():
    units, profiles, effects = small_tables(SIZES)
    short = profiles | {"similarity_emotions": profiles["similarity_emotions"][:-1]}
    with pytest.raises(UserError, match=r"^profiles.npz holds 65 units, units.parquet 66; run dvc repro dissect$"):
        atlas.atlas_data(units, short, effects, SHOWN)
    with pytest.raises(UserError, match=r"units.parquet holds other units for each concept set"):
        atlas.atlas_data(units.iloc[:-1], profiles, effects, SHOWN)


def test_ten_thousand_units_stay_small_and_the_same_to_the_byte():
    pages = [
        atlas.render_atlas(small_data(FULL), name="full", pictures="photos", private=True).encode() for _ in range(2)
    ]
    assert pages[0] == pages[1]
    assert len(pages[0]) < 1_500_000


def test_page_needs_nothing_else_and_holds_no_pixel():
    page = atlas.render_atlas(small_data(SIZES), name="small", pictures="photos", private=True)
    links = re.findall(r"(?:href|src)=\"([^\"]*)\"", page)
    assert set(links) == {"#scroller", "data:,", "index.html"}
    assert not re.search(r"https?:|@import|fetch\(|XMLHttp|<img|data:image|webp", page)
    assert "This page shows photos" not in page
    assert re.search(r"\{[{%#]", page) is None


def test_text_from_files_cannot_leave_its_place():
    units, profiles, effects = small_tables(SIZES)
    units["description"] = "</script><script>alert(1)</script>"
    data = atlas.atlas_data(units, profiles, effects, SHOWN)
    page = atlas.render_atlas(data, name="<b>small</b>", pictures="<b>mine</b>", private=False)
    assert page.count("<script") == 2
    assert "<b>" not in page
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1]
    assert json.loads(held) == data


def test_sheets_hold_every_top_image_once_in_the_order_of_the_page():
    generator = np.random.default_rng(0)
    shades = generator.integers(0, 256, 700).astype(np.uint8)
    images = np.repeat(shades, 48 * 48).reshape(700, 48, 48)
    labels = generator.integers(0, 7, 700)
    top = np.stack([generator.choice(690, 5, replace=False) for _ in range(400)])
    found, files = packing.sheets(top, images, labels)
    count = len(np.unique(top))
    assert found["files"] == list(files) == ["figures/top_images/000.webp", "figures/top_images/001.webp"]
    opened = [np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int) for data in files.values()]
    place = np.array(codes(found["place"])).reshape(400, 5)
    assert place[0].tolist() == [0, 1, 2, 3, 4]
    assert sorted(set(place.ravel())) == list(range(count))
    label_of = unpacked(found["labels"])
    for unit, rank in np.ndindex(400, 5):
        inside = place[unit, rank] % 512
        y, x = 48 * (inside // 32), 48 * (inside % 32)
        tile = opened[place[unit, rank] // 512][y : y + 48, x : x + 48]
        assert abs(tile[8:-8, 8:-8].mean() - shades[top[unit, rank]]) < 6
        assert label_of[place[unit, rank]] == labels[top[unit, rank]]


def test_files_of_a_benchmark_with_and_without_pixels(real_copy):
    params, layout = real_copy
    params = as_fer2013(params, layout)
    results = Results(params, layout)
    bare = atlas.atlas_files(results, results.profiles, results.effects, pixels=False)
    shown = atlas.atlas_files(results, results.profiles, results.effects, pixels=True)
    assert list(bare) == ["atlas.html"]
    assert list(shown) == ["atlas.html", "figures/top_images/000.webp"]
    assert b"webp" not in bare["atlas.html"]
    assert b"This page shows photos of people" in shown["atlas.html"]
    held = json.loads(re.search(rb'id="data">(.*?)</script>', shown["atlas.html"])[1])
    assert held["images"]["count"] == params.report.top_images
    assert held["sets"][0]["name"] == params.edit.concept_set
    (results.layout.data / "images.npy").unlink()
    assert atlas.atlas_files(Results(params, layout), results.profiles, results.effects, pixels=False) == bare
