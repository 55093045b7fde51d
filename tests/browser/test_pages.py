import re
from pathlib import Path

import numpy as np
import pytest
from reporting.small_atlas import SETS, VOCABULARY, small_data, small_tables

from emobench.reporting import atlas, packing
from emobench.vocabulary.class_names import BASIC

pytestmark = pytest.mark.browser
SIZES = {"conv1a": 64, "lin1": 1500, "lin2": 1500, "lin3": 7}
REPORT = Path(__file__).parents[2] / "reports" / "reference" / "demo" / "index.html"
CELLS = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"


@pytest.fixture(scope="module")
def tables():
    units, profiles, effects = small_tables(SIZES)
    return units.set_index(units["layer"] + "/" + units["unit"].astype(str)), profiles, effects


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    """The address of an atlas with top images beside it."""
    folder = tmp_path_factory.mktemp("atlas")
    images = np.random.default_rng(0).integers(0, 256, (300, 48, 48)).astype(np.uint8)
    found, files = packing.sheets(np.arange(sum(SIZES.values()) * 5).reshape(-1, 5) % 300, images, np.arange(300) % 7)
    (folder / "figures" / "top_images").mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    for name, more in {"bare": {}, "shown": {"images": found}}.items():
        text = atlas.render_atlas(small_data(SIZES) | more, name="small", pictures="drawn faces", private=False)
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return (folder / "bare.html").as_uri()


def rows(page, selector: str = "#scroller tr[data-place]") -> list[list[str]]:
    """The texts of the cells of rows."""
    return page.eval_on_selector_all(selector, CELLS)


def names(page) -> list[str]:
    return [row[0] for row in rows(page)]


def status(page) -> str:
    return page.locator("#status").inner_text()


def number(text: str) -> float:
    return float(text.replace("−", "-").replace("%", ""))


def test_opens_with_the_rows_in_sight_only(visit, address, tables):
    page = visit(address)
    assert status(page) == "3,071 of 3,071 units"
    shown = rows(page)
    assert 20 < len(shown) < 80
    # Held-out evidence first.
    best = tables[0].query("concept_set == 'expressions'").sort_values("measured_auprc", ascending=False)
    assert shown[0][0] in best.index[best["measured_auprc"] > best["measured_auprc"].max() - 0.01]
    assert number(shown[0][2]) == pytest.approx(best["measured_auprc"].iloc[0], abs=0.01)
    assert page.locator("table[role=grid]").get_attribute("aria-rowcount") == "3072"
    page.locator("#scroller").evaluate("box => (box.scrollTop = box.scrollHeight)")
    page.wait_for_function("document.querySelector('[aria-rowindex=\"3072\"]')")
    assert 20 < len(rows(page)) < 80
    assert page.locator("#printed").is_hidden()


def test_filters_leave_the_units_that_fit(visit, address, tables):
    page = visit(address + "#sort=unit")
    table = tables[0][tables[0]["concept_set"] == "expressions"]
    speaks = table["description"].map(lambda name: "sad" in VOCABULARY.every[name])
    filters = [
        ("layer", "lin2", table["layer"] == "lin2"),
        ("description", "smile", table["description"] == "smile"),
        ("emotion", "sad", speaks),
        ("significant", "yes", table["q_value"] < 0.05),
        ("significant", "no", table["q_value"] >= 0.05),
        ("dead", "no", ~table["dead"]),
        ("dead", "yes", table["dead"]),
    ]
    for name, value, fits in filters:
        page.select_option(f"[name={name}]", value)
        expected = table.index[fits].tolist()
        assert status(page) == f"{len(expected):,} of 3,071 units"
        assert names(page)[:20] == expected[:20]
        page.get_by_role("button", name="Reset", exact=True).click()
        assert status(page) == "3,071 of 3,071 units"
    page.select_option("[name=layer]", "lin1")
    page.select_option("[name=emotion]", "sad")
    assert names(page)[:20] == table.index[speaks & (table["layer"] == "lin1")].tolist()[:20]


def test_search_finds_a_unit_by_name_and_units_by_word(visit, address, tables):
    page = visit(address + "#sort=unit")
    table = tables[0][tables[0]["concept_set"] == "expressions"]
    texts = {
        "lin2/123": ["lin2/123"],
        " LIN2/14 ": ["lin2/14"],
        "eyes": table.index[table["description"].str.contains("eyes")].tolist(),
        "conv1a/": table.index[table["layer"] == "conv1a"].tolist(),
        "1499": ["lin1/1499", "lin2/1499"],
        "nowhere": [],
    }
    for text, expected in texts.items():
        page.get_by_role("searchbox").fill(text)
        assert names(page)[:20] == expected[:20]
        assert status(page) == f"{len(expected):,} of 3,071 units"
    page.get_by_role("button", name="Reset the filters").click()
    assert status(page) == "3,071 of 3,071 units"


def test_another_concept_set_is_other_descriptions(visit, address, tables):
    page = visit(address + "#sort=unit&description=smile")
    page.select_option("[name=set]", "emotions")
    table = tables[0][tables[0]["concept_set"] == "emotions"]
    assert status(page) == "3,071 of 3,071 units"
    assert [row[1] for row in rows(page)][:20] == table["description"].tolist()[:20]
    counted = page.locator("[name=description] option").all_inner_texts()
    assert counted[0] == "any"
    expected = table["description"].value_counts().sort_index()
    assert counted[1:] == [f"{name} ({count:,})" for name, count in expected.items()]


@pytest.mark.slow
def test_every_column_sorts_both_ways_with_missing_ones_last(visit, address, tables):
    page = visit(address + "#sort=unit")
    units, _, effects = tables
    table = units[units["concept_set"] == "expressions"].reset_index(drop=True)
    table = table.merge(effects, on=["layer", "unit"], how="left")
    heads = page.eval_on_selector_all("thead th", "cells => cells.map(cell => cell.dataset.key)")
    assert len(heads) > 20
    for at, column in enumerate(heads[1:], start=1):
        head, orders = page.locator(f"th[data-key={column}]"), []
        for _ in range(2):
            head.locator("button").evaluate("button => button.click()")
            orders.append(head.get_attribute("aria-sort"))
            values = table[column].sort_values(ascending=orders[-1] == "ascending", na_position="last")
            shown, expected = [row[at] for row in rows(page)][:20], values.tolist()[:20]
            if column in ("description", "runner_up"):
                assert shown == expected
            else:
                percent = column == "delta_accuracy" or shown[0].endswith("%")
                found = [number(text.replace("<", "")) / (100 if percent else 1) for text in shown]
                assert found == pytest.approx(expected, abs=0.008), column
        assert sorted(orders) == ["ascending", "descending"]
    page.locator("#scroller").evaluate("box => (box.scrollTop = box.scrollHeight)")
    page.wait_for_function("document.querySelector('[aria-rowindex=\"3072\"]')")
    assert rows(page)[-1][-1] == "–"


def test_a_click_opens_a_unit_with_all_that_is_known_of_it(visit, address, tables):
    units, profiles, effects = tables
    page = visit(address + "#sort=unit&layer=lin2&text=lin2/123")
    page.locator("tr[data-place] th").first.click()
    panel = page.get_by_role("dialog", name="lin2/123")
    assert panel.is_visible()
    row = units[units["concept_set"] == "expressions"].loc["lin2/123"]
    assert panel.locator(".named").inner_text().startswith(row["description"])
    assert f"Runner-up: {row['runner_up']}" in panel.inner_text()
    place = units.index[: len(units) // 2].get_loc("lin2/123")
    bars = rows(page, "#unit .bars tr")
    means, similarity = bars[:7], bars[7:]
    assert [cells[0] for cells in means] == list(BASIC)
    assert [number(cells[2]) for cells in means] == pytest.approx(profiles["class_activation"][place], abs=0.03)
    expected = dict(
        zip(profiles["concepts_expressions"], profiles["similarity_expressions"][place].astype(float), strict=True)
    )
    found = [number(cells[2]) for cells in similarity]
    assert found == sorted(found, reverse=True)
    for name, _, text in similarity:
        assert number(text) == pytest.approx(expected[name], abs=0.8)
    assert len(similarity) == len(expected)
    scores = {cells[0]: cells[1:] for cells in rows(page, "#unit table:not(.bars) tr")}
    assert scores["score"] == ["measured", "CLIP"]
    for head, key in {"F1": "f1", "AUPRC": "auprc"}.items():
        assert [number(text) for text in scores[head]] == pytest.approx(
            [row[f"measured_{key}"], row[f"clip_{key}"]], abs=0.008
        )
    effect = effects.set_index(["layer", "unit"]).loc["lin2", 123]
    words = panel.inner_text()
    assert "on 500 val images" in words
    said = re.search(r"accuracy ([−+]?[\d.]+) points, negative log-likelihood ([−+]?\d\.\d+)", words)
    assert number(said[1]) == pytest.approx(100 * effect["delta_accuracy"], abs=0.006)
    assert number(said[2]) == pytest.approx(effect["delta_nll"], abs=1e-5)
    assert panel.get_by_role("img").count() == 0
    page.get_by_role("button", name="Close").click()
    assert panel.is_hidden()


def test_the_keyboard_alone_is_enough(visit, address):
    page = visit(address + "#sort=unit")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    here = "document.activeElement.closest('[data-place]')?.cells[0].textContent"
    assert page.evaluate(here) == "conv1a/0"
    for key, expected in {"ArrowDown": "conv1a/1", "End": "lin3/6", "ArrowUp": "lin3/5", "Home": "conv1a/0"}.items():
        page.keyboard.press(key)
        assert page.evaluate(here) == expected
    page.keyboard.press("PageDown")
    page.keyboard.press("PageDown")
    unit = page.evaluate(here)
    assert int(unit.split("/")[1]) > 20
    box, seen = (page.locator(name).bounding_box() for name in ("tr:focus", "#scroller"))
    assert seen["y"] < box["y"] < seen["y"] + seen["height"] - box["height"]
    outline = page.locator("tr:focus").evaluate(
        "row => getComputedStyle(row).outlineStyle + getComputedStyle(row).outlineWidth"
    )
    assert outline == "solid3px"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == unit
    assert page.get_by_role("dialog", name=unit).is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    following = f"conv1a/{int(unit.split('/')[1]) + 1}"
    assert page.get_by_role("dialog", name=following).is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#unit").is_hidden()
    assert page.evaluate(here) == following


def test_the_address_keeps_unit_and_filters_and_back_goes_back(visit, address):
    page = visit(address + "#layer=lin2&emotion=sad&sort=q_value&unit=lin2/7")
    assert page.get_by_role("dialog", name="lin2/7").is_visible()
    assert page.locator("[name=layer]").input_value() == "lin2"
    assert page.locator("th[data-key=q_value]").get_attribute("aria-sort") == "ascending"
    count = status(page)
    page.keyboard.press("Escape")
    page.select_option("[name=layer]", "lin1")
    page.locator("tr[data-place] th").first.click()
    unit = page.locator("#unit-name").inner_text()
    assert page.url.endswith(f"#layer=lin1&emotion=sad&sort=q_value&unit={unit}")
    page.go_back()
    assert page.locator("#unit").is_hidden()
    page.go_back()
    assert status(page) == count
    assert page.locator("[name=layer]").input_value() == "lin2"
    page.go_forward()
    page.go_forward()
    assert page.get_by_role("dialog", name=unit).is_visible()
    here = visit(address + "#sort=unit&unit=lin2/700").locator("tr[aria-selected=true]")
    assert here.locator("th").inner_text() == "lin2/700"
    box = here.bounding_box()
    assert 300 < box["y"] < 1200
    other = visit(page.url)
    assert other.get_by_role("dialog", name=unit).is_visible()
    assert names(other)[:10] == names(page)[:10]


def test_an_address_that_asks_for_what_is_not_there_shows_everything(visit, address):
    page = visit(address + "#layer=lin9&unit=lin9/1&sort=nothing&description=x&set=y&dead=maybe&more=1")
    assert status(page) == "3,071 of 3,071 units"
    assert page.locator("#unit").is_hidden()
    assert page.locator("[name=set]").input_value() == SETS[0]


CONTRAST = """() => {
  const light = (text) => {
    const parts = text.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(color)) return color;
    }
  };
  const found = {};
  for (const node of document.querySelectorAll("body *")) {
    const words = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!words || !node.checkVisibility() || node.closest("script")) continue;
    const pair = [light(getComputedStyle(node).color), light(behind(node))].sort((one, other) => other - one);
    found[`${node.tagName}.${node.className}`] = pair[0] / pair[1];
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_light_and_dark(visit, address, scheme):
    page = visit(address + "#unit=lin2/2", color_scheme=scheme)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
    assert dark == (scheme == "dark")
    found = page.evaluate(CONTRAST)
    assert len(found) > 15
    assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}


def test_on_a_phone_nothing_sticks_out_and_a_unit_fills_the_screen(visit, address):
    page = visit(address, width=320, height=640, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.locator("tr[data-place] th").first.tap()
    box = page.locator("#unit").bounding_box()
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 320, 640)
    assert page.locator("#unit").evaluate("panel => panel.scrollWidth <= panel.clientWidth")
    page.keyboard.press("Escape")
    assert page.locator("#unit").is_hidden()
    page.go_back()
    page.get_by_role("button", name="Close").tap()
    assert page.locator("#unit").is_hidden()


def test_on_paper_rows_take_the_place_of_filters(visit, address):
    page = visit(address + "#layer=lin1")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    said = page.locator("#printed").inner_text()
    assert (
        said
        == "1,500 of 3,071 units; layer: lin1; sorted by measured: AUPRC, highest first, the first 200 of them printed."
    )
    assert len(rows(page)) == 200
    assert page.locator("#filters").is_hidden()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(rows(page)) < 80


def test_top_images_are_loaded_when_a_unit_is_opened(visit, address):
    page = visit(address.replace("bare", "shown"))
    asked = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    with page.expect_request("**/000.webp"):
        page.locator("tr[data-place] th").first.click()
    images = page.locator("#unit").get_by_role("img")
    unit = page.locator("#unit-name").inner_text()
    labels = [images.nth(at).get_attribute("aria-label") for at in range(images.count())]
    assert labels[4].startswith(f"Top image 5 of {unit}, a face labelled ")
    assert asked == ["000.webp"]


@pytest.mark.parametrize("width", [1280, 320])
def test_the_committed_report_opens_on_a_desk_and_on_a_phone(visit, width):
    page = visit(REPORT.as_uri(), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("h1").inner_text() == "demo"
    assert page.locator("figure svg").first.bounding_box()["width"] > 200
    assert page.locator("img:not([alt])").count() == 0
