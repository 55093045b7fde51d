"""Stage report: the tables, the figures and the page that people read."""

from emobench.files import replacing, write_csv
from emobench.layout import Layout
from emobench.params import Params
from emobench.reporting import control_figures, edit_figures, evidence_figures, figures, tables
from emobench.reporting.html import render_page
from emobench.reporting.published import published_replay
from emobench.reporting.results import Results


def run(params: Params, layout: Layout) -> None:
    """Writes small tables, figures and the page under reports/, and the page with top images under artifacts/.

    Nothing made of the pixels of real faces is written under reports/.
    """
    results = Results(params, layout)
    pictures = [*figures.draw(results), *evidence_figures.draw(results)]
    pictures += [*edit_figures.draw(results), *control_figures.draw(results)]
    page = layout.artifacts / "report" / "index.html"
    pages = {layout.reports / "index.html": not results.real_faces, page: True}
    texts = {path: render_page(results, pictures, pixels=pixels) for path, pixels in pages.items()}
    small = {"layers": results.layers, "configs": results.configs, "verdicts": results.verdicts}
    small |= {"controls": tables.control_summary(results), "published_grid": published_replay()}
    small["top_units"] = tables.top_units(results.units, params.report.top_units).drop(columns="top_images")
    for name, table in small.items():
        write_csv(layout.reports / f"{name}.csv", table)
    with replacing(layout.reports / "figures") as folder:
        folder.mkdir()
        for picture in pictures:
            (folder / f"{picture.name}.svg").write_text(picture.svg, encoding="utf-8")
    for path, text in texts.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
