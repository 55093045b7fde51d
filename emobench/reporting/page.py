"""The report as one self-contained page: style, figures and, where allowed, top images are inside it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from markupsafe import Markup

from emobench import __version__
from emobench.edits.contract import contract_in_words
from emobench.reporting import about, concept_tables, edit_tables, layer_tables, tables
from emobench.reporting import page_tables as views
from emobench.reporting.figures.style import FONTS, GRID, INK, MUTED, PAPER, SERIES, Drawn, Picture
from emobench.reporting.results import Results
from emobench.reporting.summary import answer
from emobench.reporting.text import rendered
from emobench.reporting.unit_cards import unit_cards
from emobench.reporting.words import data_sentence, network_sentence, pictures_of

VARIABLES = {PAPER: "paper", INK: "ink", MUTED: "muted", GRID: "grid"} | {
    color: f"series-{number}" for number, color in enumerate(SERIES, start=1)
}
"""The figures' colours that the page sets anew for light, dark and print."""


@dataclass(frozen=True)
class Section:
    """A part of the page: heading, what to know first, the names of its figures, its tables."""

    key: str
    title: str
    text: list[str]
    figures: list[str] = field(default_factory=list)
    tables: list[views.Table] = field(default_factory=list)


def render_page(results: Results, pictures: Iterable[Picture | Drawn], *, pixels: bool, beside: str = "") -> str:
    """The whole page as HTML.

    Args:
        results: the benchmark.
        pictures: the figures, in any order.
        pixels: whether the units' top images are shown. With photos of people the page must then stay out of git.
        beside: path from the page to the folder with the report's tables, with a slash at the end.
    """
    parts, drawn = sections(results), {picture.name: picture for picture in pictures}
    order = [name for part in parts for name in part.figures if name in drawn]
    return rendered(
        "index.html",
        name=results.params.name,
        version=__version__,
        limit=results.params.data.limit if results.limited else None,
        answer=answer(results),
        sections=parts,
        figures={
            name: {"svg": inline_svg(drawn[name]), "picture": drawn[name], "number": number}
            for number, name in enumerate(order, start=1)
        },
        beside=beside,
        method=about.method(results),
        glossary=about.GLOSSARY,
        cite=about.CITE,
        units=unit_cards(results, pixels=pixels),
        pixels=pixels,
        pictures=pictures_of(results),
        private=results.private,
        fer2013=results.fer2013,
        top_images=results.params.report.top_images,
    )


def sections(results: Results) -> list[Section]:
    """The parts of the page: figures first, then tables."""
    parts = [*_figure_sections(results), concept_section(results), held_out_section(results)]
    return [*parts, *_table_sections(results)]


def _figure_sections(results: Results) -> list[Section]:
    edits = [_edits_section(results)] if results.params.edit.asked else []
    return [
        *edits,
        Section(
            "layers", "What the units react to", clip_notes(results.clip_model),
            ["similarities", "figure5", "figure4", "interpretable", "effects", "accuracies", "held_out", "stability"],
        ),
    ]  # fmt: skip


def _edits_section(results: Results) -> Section:
    return Section(
        "edits", "What the edits change",
        ["Blue is better, red is worse than the baseline. Solid frame: the paper's edit; dotted: the one that did "
         "best on the validation images; grey: τ selects no unit, or all of them."],
        ["strategies", "controls", "power", "volcano", "recalls", "grid_val", "grid_test", "grid_val_test",
         "confusion_baseline", "confusion_paper", "confusion_published", "confusion_chosen"],
        [replace(edit_tables.leaderboard_table(results), file="verdicts.csv")],
    )  # fmt: skip


def concept_section(results: Results) -> Section:
    """Which classes concepts speak for, by the map that descriptions are judged by and by the CLIP that gave them."""
    figures = [f"concept_classes_{number}" for number in range(1, len(results.concept_sets) + 1)]
    text, table = concept_tables.concept_text(results), concept_tables.concept_classes_table(results)
    return Section("concepts", "What the concepts stand for", text, figures, _folded([table], "concept_classes.csv"))


def held_out_section(results: Results) -> Section:
    """Descriptions held against what is known of images that named nothing, and against the classes of the outputs."""
    held_out = results.metrics("held_out")
    title = "Held against known truth" if held_out["evidence"] == "truth" else "Held-out evidence"
    known = layer_tables.known_answer_table(results)
    tested = [] if known is None else [known]
    if "trained" in held_out:
        tested += [layer_tables.truth_table(results), layer_tables.held_out_table(held_out)]
    tested = [replace(table, file="held_out.json") for table in tested]
    return Section("held-out", title, layer_tables.held_out_text(held_out), [], tested)


def _table_sections(results: Results) -> list[Section]:
    shown = results.params.edit.similarity_fn
    dissections = [pair for pair in tables.dissections(results) if pair[1] == shown]
    every = []
    if results.params.edit.asked:
        every += _folded([edit_tables.controls_table(results)], "controls.csv")
        every += _folded([edit_tables.edits_table(results)], "configs.csv")
        every += _folded([edit_tables.verdicts_table(results), edit_tables.class_table(results)], "verdicts.csv")
        every += _folded([edit_tables.search_table(results)])
    if results.published is not None:
        every += _folded([edit_tables.published_table()], "published_grid.csv")
    of_layers = [layer_tables.layer_table(results, *pair) for pair in dissections]
    of_layers += [layer_tables.overview_table(results), layer_tables.coherence_table(results)]
    every += _folded(of_layers, "layers.csv")
    every += _folded([views.ranking_table(results)], "clip_concepts.csv")
    every += _folded([views.metrics_table(results.metrics("network"))], "network.json")
    every += _folded([views.audit_table(results.metrics("audit"))], "audit.json")
    about_network = [data_sentence(results), network_sentence(results)]
    return [
        Section("training", "The network", about_network, ["network", "history"]),
        Section("tables", "Tables", [unmeasured_note(results)], [], every),
        Section("about", "About this page", contract_notes(results), [], [about.provenance(results)]),
    ]


def _folded(some: Iterable[views.Table], file: str = "") -> list[views.Table]:
    return [replace(table, folded=True, file=file) for table in some]


def clip_notes(clip: Mapping[str, Any]) -> list[str]:
    """Whether agreement between descriptions and labels or annotations is independent evidence."""
    names = {"saw_labels": "the emotion labels", "saw_annotations": "the annotated concepts"}
    seen = " and ".join(text for key, text in names.items() if clip.get(key))
    if not seen:
        return ["The CLIP behind the descriptions saw neither labels nor annotations of these images."]
    return [
        f"The CLIP behind the descriptions was trained with {seen} of the train images. That a description agrees "
        "with them is therefore not independent evidence that it is right."
    ]


def contract_notes(results: Results) -> list[str]:
    """Whether params, splits and rules are those under which the test images were first read; where that is noted."""
    words = contract_in_words(results.params, results.layout)
    return [f"Contract of params, splits and rules: {words}."] if words else []


def unmeasured_note(results: Results) -> str:
    """Which concepts nobody measured on these images."""
    if not results.unmeasured:
        return "Every concept is measured on these images."
    return f"Not measured on these images, so not checked against anything: {', '.join(results.unmeasured)}."


def inline_svg(picture: Picture | Drawn) -> Markup:
    """A figure to stand inside the page: its ids are its own, its colours and its font the page's."""
    svg = picture.svg
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"[\"(]#([^\")]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: f' id="{picture.name}-{found[1]}"' if found[1] in used else "", svg)
    svg = re.sub(r"([\"(])#(?=[^\")]+[\")])", rf"\1#{picture.name}-", svg)
    svg = re.sub(r"#[0-9a-f]{6}\b", lambda found: variable(found[0]), svg).replace(FONTS, "inherit")
    svg = re.sub(r">\s+<", "><", svg)
    width = float(re.findall(r' width="([\d.]+)pt"', svg)[0])
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    return Markup(svg.replace("<svg", f'<svg style="max-width: {1.45 * width:.0f}px"', 1))


@cache
def variable(color: str) -> str:
    """A colour of the figures as the page's variable; others (the cells of heat maps) stay."""
    return f"var(--{VARIABLES[color]})" if color in VARIABLES else color
