"""Stage report: the tables, the figures and the pages that people read."""

import importlib

from emobench.files import replacing, write_csv, write_json
from emobench.forked import forked
from emobench.layout import Layout
from emobench.params import Params
from emobench.progress import progress
from emobench.reporting import tables
from emobench.reporting.atlas import atlas_files
from emobench.reporting.figures import concepts as concept_figures
from emobench.reporting.figures import controls as control_figures
from emobench.reporting.figures import dissection as figures
from emobench.reporting.figures import edits as edit_figures
from emobench.reporting.figures import evidence as evidence_figures
from emobench.reporting.figures import network as network_figures
from emobench.reporting.figures import power as power_figures
from emobench.reporting.figures.style import Drawn
from emobench.reporting.headlines import headlines
from emobench.reporting.page import render_page
from emobench.reporting.published import published_replay
from emobench.reporting.results import Results
from emobench.seen import check_noted, note

GIVEN = (
    "artifacts/{name}/seen/dissect.json", "artifacts/{name}/seen/compare.json", "artifacts/{name}/units.parquet",
    "artifacts/{name}/layers.parquet", "artifacts/{name}/verdicts.parquet", "reports/{name}/held_out.json",
    "reports/{name}/dissect.json", "reports/{name}/compare.json",
)  # fmt: skip
"""What is noted for the stage that logs it."""


PARTS = (figures, concept_figures, evidence_figures)
EDIT_PARTS = (edit_figures, control_figures, power_figures)


def run(params: Params, layout: Layout) -> None:
    """Writes small tables, figures and pages under reports/, and the pages with top images under artifacts/.

    Nothing made of the pixels of real faces is written under reports/.
    """
    check_noted(layout, ("embed", "record", "dissect", "compare"))
    results = Results(params, layout)
    parts = [*PARTS, *(EDIT_PARTS if params.edit.asked else []), network_figures]
    with forked(results, len(parts)) as do:
        drawings = do(_draw, [part.__name__ for part in parts])
        # Meanwhile, where figures are drawn beside.
        atlas = atlas_files(results, results.profiles, results.effects, pixels=not results.private)
        pictures = [picture for drawn in progress(drawings, total=len(parts), desc="draw figures") for picture in drawn]
    shown = {"index.html": render_page(results, pictures, pixels=not results.private).encode()} | atlas
    beside = f"../../../reports/{params.name}/"
    private = {"index.html": render_page(results, pictures, pixels=True, beside=beside).encode()}
    private |= atlas_files(results, results.profiles, results.effects, pixels=True)
    small = {"layers": results.layers, "configs": results.configs, "verdicts": results.verdicts}
    published = published_replay()
    # DVC waits for the file: where nothing published compares, it has no rows.
    small |= {"published_grid": published if results.published is not None else published.head(0)}
    small["controls"] = tables.control_summary(results)
    small["top_units"] = tables.top_units(results.units, params.report.top_units, results.layer_names).drop(
        columns="top_images"
    )
    for name, table in small.items():
        write_csv(layout.reports / f"{name}.csv", table)
    drawn = {f"{picture.name}.svg": picture.svg.encode() for picture in pictures}
    drawn |= {name.removeprefix("figures/"): shown.pop(name) for name in list(shown) if name.startswith("figures/")}
    for folder, files in ((layout.reports / "figures", drawn), (layout.artifacts / "report", private)):
        with replacing(folder) as temporary:
            for name, content in files.items():
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                (temporary / name).write_bytes(content)
    for name, content in shown.items():
        with replacing(layout.reports / name) as temporary:
            temporary.write_bytes(content)
    write_json(layout.reports / "metrics.json", headlines(results))
    note(layout, "report", GIVEN)


def _draw(results: Results, part: str) -> list[Drawn]:
    """The figures of one module."""
    return [picture.drawn() for picture in importlib.import_module(part).draw(results)]
