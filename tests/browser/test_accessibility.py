"""axe-core on what people open: the report, the atlas, the documentation; in light, in dark and on a phone."""

from pathlib import Path

import pytest
from reporting.small_atlas import small_data

from emobench.reporting import atlas

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
SITE = ROOT / "site"
VIEWS = {
    "light": {"width": 1400},
    "dark": {"width": 1400, "color_scheme": "dark"},
    "phone": {"width": 360, "height": 740, "has_touch": True, "is_mobile": True},
}
REPORT = next(path for path in (ROOT / "reports" / "reference" / "demo", ROOT / "reports" / "demo") if path.is_dir())
PAGES = ("index", "tutorials/own-network", "explanation/verdicts", "measured")


@pytest.fixture(scope="module")
def violations():
    """What axe-core finds on an open page: rule and first element of each violation."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

    def violations(page) -> list[tuple[str, str]]:
        found = axe.Axe().run(page).response["violations"]
        return [(one["id"], one["nodes"][0]["html"][:200]) for one in found]

    return violations


@pytest.fixture(scope="module")
def small_atlas(tmp_path_factory) -> str:
    """The address of a freshly made atlas."""
    path = tmp_path_factory.mktemp("atlas") / "atlas.html"
    text = atlas.render_atlas(
        small_data({"conv1a": 64, "lin1": 100, "lin3": 7}), name="small", pictures="drawn faces", private=False
    )
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


def test_axe_finds_what_is_wrong(visit, violations, tmp_path):
    (tmp_path / "wrong.html").write_text("<html><title>x</title><main><h1>x</h1><img src='data:,'></main></html>")
    assert {name for name, _ in violations(visit((tmp_path / "wrong.html").as_uri(), own=False))} >= {
        "html-has-lang",
        "image-alt",
    }


@pytest.mark.parametrize("view", VIEWS)
def test_the_report_has_no_violation(visit, violations, view):
    assert violations(visit((REPORT / "index.html").as_uri(), **VIEWS[view])) == []


@pytest.mark.parametrize("view", VIEWS)
def test_the_atlas_has_no_violation_with_and_without_an_open_unit(visit, violations, small_atlas, view):
    page = visit(small_atlas, **VIEWS[view])
    page.eval_on_selector_all("details", "all => all.forEach(one => (one.open = true))")
    assert violations(page) == []
    page.locator("tr[data-place] th").first.click()
    assert violations(page) == []


@pytest.mark.skipif(not SITE.is_dir(), reason="no site/ here: make docs")
@pytest.mark.parametrize("view", VIEWS)
def test_the_documentation_has_no_violation_and_asks_the_network_for_nothing(visit, violations, view):
    found = {}
    for name in PAGES:
        # own=False: from a file, axe's own look at the style sheets is refused, and said on the console.
        page = visit((SITE / f"{name}.html").as_uri(), root=SITE.as_uri(), own=False, **VIEWS[view])
        found[name] = violations(page)
    assert found == {name: [] for name in PAGES}
