"""The plots of dvc.yaml drawn as `dvc plots show` draws them, by the same templates and without a network."""

import csv
import re
from pathlib import Path

import pytest
import yaml

from emobench.comparison import plots_page
from emobench.errors import UserError

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "reports" / "reference" / "demo"
PLOTS = {Path(path).name: asked for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
         for path, asked in plot.items()}  # fmt: skip


def spec(name: str, revisions: tuple[str, ...] = ("workspace",)) -> dict:
    """What DVC makes of a table: every cell is text, a row of each revision."""
    from dvc_render.vega import VegaRenderer

    with open(DEMO / name, newline="", encoding="utf-8") as file:
        rows = [row | {"rev": revision} for row in csv.DictReader(file) for revision in revisions]
    return VegaRenderer(rows, name, template_dir=str(ROOT / ".dvc" / "plots"), **PLOTS[name]).get_filled_template()


@pytest.mark.parametrize("name", list(PLOTS))
def test_every_plot_has_marks_a_title_and_named_axes(name) -> None:
    import vl_convert

    asked = PLOTS[name]
    svg = vl_convert.vegalite_to_svg(spec(name), vl_version=plots_page.VEGA_LITE, allowed_base_urls=[])
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", svg.replace("&apos;", "'").replace("&#39;", "'"))
    for wanted in (asked["title"], asked["x_label"], asked["y_label"]):
        assert wanted in texts
    assert len(re.findall(r'aria-roledescription="(?:point|rect|line mark|rect mark|circle|bar|line)', svg)) > 0
    assert "NaN" not in svg


def test_two_revisions_are_told_apart() -> None:
    import vl_convert

    svg = vl_convert.vegalite_to_svg(spec("clip_concepts.csv", ("HEAD", "workspace")), vl_version=plots_page.VEGA_LITE)
    assert {"HEAD", "workspace"} <= set(re.findall(r"<text[^>]*>([^<]+)</text>", svg))


def test_the_page_is_named_in_the_local_config_and_takes_nothing_from_outside(tmp_path) -> None:
    with pytest.raises(UserError, match=r"has no \.dvc; run this in the repository"):
        plots_page.install(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config.local").write_text("[core]\n    hardlink_lock = true\n")
    text = plots_page.install(tmp_path).read_text()
    assert {"{plot_divs}", "{refresh_tag}"} <= set(re.findall(r"\{\w+_\w+\}", text))
    around = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"<script|(src|href)=", around)
    assert "window.vegaEmbed=" in text
    config = (tmp_path / ".dvc" / "config.local").read_text()
    assert "html_template = plots_page.html" in config
    assert "hardlink_lock = true" in config
