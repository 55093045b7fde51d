import dataclasses
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import escape

from emobench.functional.paired import mcnemar
from emobench.functional.power import smallest_gain
from emobench.reporting import edit_tables, layer_tables, tables
from emobench.reporting import page as html
from emobench.reporting import page_tables as views
from emobench.reporting import summary as answer
from emobench.reporting.figures import concepts as concept_figures
from emobench.reporting.figures import controls as control_figures
from emobench.reporting.figures import dissection as figures
from emobench.reporting.figures import edits as edit_figures
from emobench.reporting.figures import evidence as evidence_figures
from emobench.reporting.figures import network as network_figures
from emobench.reporting.figures import power as power_figures
from emobench.reporting.results import Results
from emobench.reporting.unit_cards import unit_cards

VOID = {"meta", "link", "img", "br"}


@pytest.fixture(scope="module")
def results(real) -> Results:
    return Results(*real)


def drawn(results):
    parts = (figures, concept_figures, evidence_figures, edit_figures, control_figures, power_figures, network_figures)
    return [picture for part in parts for picture in part.draw(results)]


@pytest.fixture(scope="module")
def pictures(results):
    return drawn(results)


@pytest.fixture(scope="module")
def page(results, pictures) -> str:
    return html.render_page(results, pictures, pixels=True)


class Reader(HTMLParser):
    """Checks that tags are closed in order and collects ids, links and images."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.ids, self.links, self.images = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [value for key, value in attrs.items() if key in ("href", "xlink:href", "src")]
        self.images += [attrs] if tag == "img" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_page_is_well_formed_and_needs_nothing_else(page, results):
    reader = read(page)
    assert len(reader.ids) == len(set(reader.ids))
    outside = [link for link in reader.links if not link.startswith(("#", "data:"))]
    named = {link.split("#unit=")[0] for link in outside}
    assert {"atlas.html", "verdicts.csv", "configs.csv", "layers.csv", "audit.json"} <= named
    written = {"atlas.html", "verdicts.csv", "configs.csv", "controls.csv", "layers.csv"}  # by the stage, with the page
    assert named <= written | {path.name for path in results.layout.reports.iterdir()}
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)
    assert all(image["alt"] for image in reader.images)
    assert not re.search(r"<script|@import|url\((?!#)", page)


def test_no_head_of_a_column_is_empty(page):
    assert re.findall(r"<th[^>]*></th>", page) == []
    assert "<thead><tr><td" in page


def test_every_figure_is_on_the_page_with_caption_and_text_in_its_place(page, pictures):
    for picture in pictures:
        assert page.count(f'aria-label="{escape(picture.alt)}"') >= 1
        assert f"</b> {escape(picture.caption)}" in page
    numbers = re.findall(r"<b>Figure (\d+)\.</b>", page)
    assert [int(number) for number in numbers] == list(range(1, len(pictures) + 1))
    assert len({picture.name for picture in pictures}) == len(pictures)


def test_svg_is_xml_with_its_own_ids_and_the_pages_colours(pictures):
    for picture in pictures:
        ElementTree.fromstring(picture.svg.split("?>", 1)[1].split(">", 1)[1].strip())
        inline = str(html.inline_svg(picture))
        ids = set(re.findall(r'id="([^"]+)"', inline))
        assert set(re.findall(r'[("]#([^)"]+)', inline)) <= ids
        assert all(name.startswith(f"{picture.name}-") for name in ids)
        assert "var(--ink)" in inline
        assert "#1b1f24" not in inline


def test_figures_are_the_same_bytes_each_time(results, pictures):
    assert [picture.svg for picture in drawn(results)] == [picture.svg for picture in pictures]


def test_answer_comes_first_and_says_what_was_measured(results, page):
    base, tested = results.config(results.baseline_id)["accuracy"], len(results.columns_of("test")[1])
    assert f": the network gets {base:.2%} of the {tested} test images right, with the best edit" in page
    assert page.index('id="answer"') < page.index("<figure") < page.index("<table")


@pytest.mark.parametrize(
    ("gains", "losses", "p", "holm", "expected"),
    [
        (30, 5, 0.0001, 0.0004, "better by more than luck explains: .* in fewer than 1 of 1,000 cases"),
        (5, 30, 0.01, 0.02, "worse by more than luck explains: .* in 1 of 100 cases"),
        (9, 7, 0.8, 1.0, "can't be told from luck: .* in 80 of 100 cases"),
        (5, 5, 1.0, 1.0, "can't be told from luck: .* every time"),
        (12, 3, 0.03, 0.12, "can't be told from luck: .* in 3 of 100 cases. Corrected for the 4 .*, p = 0.12"),
        (0, 0, 1.0, 1.0, "answers every image as the baseline does"),
    ],
)
def test_luck(gains, losses, p, holm, expected):
    verdict = {"gains": gains, "losses": losses, "mcnemar_p": p, "holm_p": holm, "verdict": "no evidence"}
    verdict["why"] = "a uniform factor does as well"
    assert re.search(expected, answer.luck(verdict, 4))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "No evidence; a gain below 1 points could not have been seen: on 16 images .* from 18 images on"),
        (
            {"detectable": np.nan, "detectable_points": np.nan},
            "on only 16 of the 1,800 images .* so few could have been",
        ),
        ({"verdict": "improves"}, "^$"),
        ({"gains": 0, "losses": 0}, "^$"),
    ],
)
def test_what_could_not_have_been_seen(changes, expected):
    verdict = {"gains": 9, "losses": 7, "verdict": "no evidence", "detectable": 18.0, "detectable_points": 1.0}
    assert re.search(expected, answer.unseen(verdict | changes, 1800))


def test_power_curves_are_those_of_the_test(results):
    images = int(results.confusion(results.baseline_id, "test").sum())
    tested = results.verdicts.query("images == 'test'")["config_id"].nunique()
    found = smallest_gain(16, alpha=0.05 / tested)
    seen = {"gains": 9, "losses": 7, "verdict": "no evidence", "detectable": float(found)}
    other = Results(results.params, results.layout)
    other.verdicts = results.verdicts.assign(**seen, detectable_points=100 * found / images)
    page = html.render_page(other, [], pixels=False)
    assert f"a gain below {100 * found / images:.2g} points could not have been seen" in page
    row = tables.verdict_of(other, other.chosen_id)
    gains, powers = power_figures.powers_of(row, images, 0.05 / tested)
    assert (gains[0], gains[-1]) == (0, 16 / images)
    assert np.ceil(images * np.interp(0.8, powers, gains)) == found
    (picture,) = power_figures.draw(other)
    assert f"one of {tested} by Holm's method" in picture.caption
    assert "would have been found with 80%" in picture.caption
    other.verdicts = results.verdicts.assign(gains=0, losses=0)
    assert power_figures.draw(other) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"verdict": "improves"}, "did best on validation helps, by more than luck and its controls explain"),
        ({"verdict": "harms"}, "Even the edit that did best on validation harms"),
        ({"holm_p": 0.01}, "can't be told from that of its controls"),
        ({}, "No edit makes a difference that can be told from luck"),
        ({"gains": 0, "losses": 0}, "No edit helps"),
    ],
)
def test_the_verdict_leads(results, changes, expected):
    chosen = {"verdict": "no evidence", "gains": 9, "losses": 7, "holm_p": 1.0} | changes
    verdicts = results.verdicts.query("images == 'test'")
    verdicts = verdicts.assign(verdict="no evidence")
    assert re.search(expected, answer.conclusion(verdicts, chosen))
    name, accuracy = verdicts["config_id"].iloc[1], verdicts["accuracy"].iloc[1]
    other = verdicts.assign(verdict=verdicts["config_id"].eq(name).map({True: "improves", False: "no evidence"}))
    if chosen["verdict"] != "improves":
        said = answer.conclusion(other, chosen)
        assert said == f"An edit helps by more than luck and its controls explain ({name}: {accuracy:.2%})"


def test_controls_are_not_edits_and_stand_beside_them(results):
    assert set(results.configs["arm"]) == {"baseline", "similarity", "weight_norm", "proportional", "search_free"}
    assert {"random", "uniform", "inverse"} <= set(results.controls["arm"])
    assert set(results.controls["control_of"]) <= set(results.edit_ids)
    assert not set(results.control_ids) & set(results.edit_ids)
    summary = tables.control_summary(results)
    row = summary.query("criterion == 'paper' and kind == 'random' and images == 'test'").iloc[0]
    made = tables.controls_of(results, results.paper_id, "paper", "test").query("arm == 'random'")["accuracy"]
    assert (row["draws"], row["median"]) == (20, made.median())
    verdict = tables.verdict_of(results, results.chosen_id)
    sentence = answer.controls_sentence(results, verdict)
    assert f"{verdict['control_percentile']:.0f} % do worse on test" in sentence
    assert f"{results.evaluated:,} configurations" in sentence
    board = edit_tables.leaderboard_table(results)
    judged = results.verdicts.query("images == 'test'")
    controls = edit_tables.controls_table(results)
    folded = int((results.verdicts["selected_on"] == "cross_fitted").sum())
    for table in (board, controls):
        assert [len(row) for row in table.rows] == [len(table.head)] * (len(judged) + folded)
    assert board.head[-1] == "verdict"
    for row in (row for row in board.rows if row[0] != "cross_fitted"):
        verdict = judged.set_index("config_id").loc[row[0]]
        assert verdict["verdict"] in row[-1]
        assert "Holm" not in row[-1]
    assert len(edit_tables.published_table().rows) > 3


def test_long_tables_are_folded_under_their_titles(page):
    folded = re.findall(r"<details><summary>([^<]+)</summary>", page)
    assert "What the controls of the judged edits did on test" in folded
    assert not any(title.startswith("Leaderboard") for title in folded)
    assert len(folded) > 8


def test_strategies_are_ranked_with_their_intervals_beside_their_controls(results):
    picture = control_figures.strategies(results)
    (axes,) = picture.figure.axes
    rows = results.verdicts[results.verdicts["images"] == "test"].sort_values("delta_accuracy", kind="stable")
    assert len(axes.get_yticklabels()) == len(rows)
    assert axes.get_yticklabels()[0].get_text() in {rows["arm"].iloc[0], "the paper's cell"}
    diamonds = [line for line in axes.lines if line.get_marker() == "D" and len(line.get_xdata())]
    np.testing.assert_allclose([line.get_xdata()[0] for line in diamonds], 100 * rows["delta_accuracy"])
    spans = {tuple(np.round(line.get_xdata(), 6)) for line in axes.lines if len(line.get_xdata()) == 2}
    for ends in 100 * rows[["ci_low_accuracy", "ci_high_accuracy"]].to_numpy():
        assert tuple(np.round(ends, 6)) in spans


def test_the_network_is_drawn_layer_by_layer(results):
    picture = network_figures.layers(results)
    bars = [bar for bar in picture.figure.axes[0].patches if bar.get_width()]
    assert [round(bar.get_width()) for bar in bars] == [layer.units for layer in results.network.layers]
    framed = [bar for bar in bars if bar.get_linewidth()]
    assert [round(bar.get_width()) for bar in framed] == [results.network.layer(tables.edited_layer(results)).units]


def test_volcano_p_values_are_the_exact_mcnemar_ones(results):
    found = control_figures.exact_p_values(results, results.edit_ids).set_index("config_id")
    at, labels = results.columns_of("test")
    right = results.predictions[:, at] == labels
    base = right[results.config_ids.index(results.baseline_id)]
    for name in results.edit_ids:
        expected = mcnemar(base, right[results.config_ids.index(name)])
        assert found.loc[name, "p"] == pytest.approx(expected.p_value)
        assert found.loc[name, "points"] == pytest.approx(100 * (expected.gains - expected.losses) / len(labels))


@pytest.mark.parametrize(
    ("saw", "expected"),
    [
        ({"saw_labels": True, "saw_annotations": True}, "emotion labels and the annotated concepts .* not independent"),
        ({"saw_labels": False, "saw_annotations": True}, "with the annotated concepts .* not independent"),
        ({"saw_labels": False, "saw_annotations": False}, "saw neither labels nor annotations"),
    ],
)
def test_what_the_clip_saw_is_said(saw, expected):
    assert re.search(expected, " ".join(html.clip_notes(saw)))


def test_unmeasured_concepts_and_limited_runs_are_marked(results, pictures, page):
    assert "Every concept is measured on these images." in page
    assert "Smoke run" not in page
    other = Results(results.params, results.layout)
    other.annotations["flared nostrils"] = np.nan
    assert "not checked against anything: flared nostrils" in html.render_page(other, [], pixels=False)
    limited = dataclasses.replace(results.params, data=dataclasses.replace(results.params.data, limit=500))
    assert "Smoke run on 500 images" in html.render_page(Results(limited, results.layout), pictures, pixels=False)


def test_text_from_files_is_escaped(real_copy):
    params, layout = real_copy
    (layout.reports / "audit.json").write_text('{"<script>alert(1)</script>": 1}')
    found = Results(params, layout)
    page = html.render_page(found, [], pixels=False)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_pixels_only_where_asked_for(results, pictures, page):
    top = sum(map(len, unit_cards(results, pixels=False)["layers"].values()))
    assert 0 < top <= results.params.report.top_units * 3
    assert page.count("data:image/webp") == top
    bare = html.render_page(results, pictures, pixels=False)
    assert "data:image" not in bare
    assert "<img" not in bare


def test_tables_hold_the_measured_numbers(results):
    layers = layer_tables.layer_table(results, "expressions", "soft_wpmi")
    first = dict(zip(layers.head, layers.rows[0], strict=True))
    row = results.layers.query("layer == 'conv1a' and concept_set == 'expressions'").iloc[0]
    assert first["share"] == f"{row['prop_interp']:.1%}"
    assert first["chance"] == f"{row['overall_chance']:.1%}"
    assert first["lift"] == f"{row['lift']:.2f}"
    assert first["significant"] == f"{row['prop_significant']:.1%}"
    assert first["AUPRC"] == f"{row['measured_auprc_described']:.3f}"
    ranking, ranked = views.ranking_table(results), results.plot("clip_concepts")
    assert sorted(row[0] for row in ranking.rows) == sorted(ranked["concept"])
    assert [row[1] for row in ranking.rows].count("–") == ranked["auroc"].isna().sum() > 0
    assert ranking.rows[-1][1] == "–"
    verdicts, first = edit_tables.verdicts_table(results), results.verdicts.iloc[0]
    assert [len(row) for row in verdicts.rows] == [len(verdicts.head)] * len(results.verdicts)
    told = [float(number.replace("−", "-")) for number in re.findall(r"[+−][\d.]+", verdicts.rows[0][-1])]
    assert told == pytest.approx([100 * first[f"{end}_accuracy"] for end in ("delta", "ci_low", "ci_high")], abs=0.5)
    held_out = results.metrics("held_out")
    row = held_out["trained"]["lin2"]
    expected = ["lin2", "trained", f"{row['described']:.3f}", f"{row['random']:.3f}", f"{row['units']:,}"]
    assert expected in layer_tables.held_out_table(held_out).rows
    edits = edit_tables.edits_table(results)
    assert len(edits.rows) == 4 * (1 + len(results.shown_edits()))
    network = results.metrics("network")
    counted = next(row for row in views.metrics_table(network).rows if row[0] == "images")
    assert counted[1:3] == [f"{network[name]['images']:,}" for name in ("val", "test")]
    counts = {"seen": 3, "images": {"total": 1200, "val": 7}, "classes": {"val": {"a_b": 5}}}
    counts["by"] = {"total": 2, "x": 1}
    assert views.audit_table(counts).rows == [
        ["seen", "3", "–", "–", "–"], ["images", "1,200", "–", "7", "–"], ["classes: a b", "–", "–", "5", "–"],
        ["by", "2", "–", "–", "–"], ["by: x", "1", "–", "–", "–"],
    ]  # fmt: skip


def test_evidence_tables_hold_the_measured_numbers(results):
    own = results.metrics("held_out")["output_layer"]["concept_sets"]["emotions"]["soft_wpmi"]
    assert ["emotions", "soft_wpmi", f"{own['own_class']} of 7"] in layer_tables.known_answer_table(results).rows
    overview = layer_tables.overview_table(results)
    assert len(overview.rows) == len(results.layers)
    row = results.layers.iloc[3]
    shown = overview.rows[3]
    assert shown[:3] == [row["layer"], row["concept_set"], row["similarity_fn"]]
    assert f"{row['measured_auprc_described']:.3f}" in shown
    truth = layer_tables.truth_table(results)
    layers = results.layers[results.layers["concept_set"] == truth.rows[0][0]].dropna(subset=["truth_top1"])
    units = layers["truth_units"].sum()
    best = sum(layers["truth_top1"] * layers["truth_units"]) / units
    assert truth.rows[0][1:4] == ["soft_wpmi", f"{units:,}", f"{best:.1%}"]
    coherence = layer_tables.coherence_table(results)
    assert [len(row) for row in coherence.rows] == [7] * 11


def test_held_out_figure_shows_what_was_measured_and_is_left_out_without_measurements(results):
    picture = evidence_figures.held_out(results)
    rows = results.evidence.query(
        "network == 'trained' and source == 'measured' and metric == 'auprc' and concept_set == 'expressions'"
    )
    lines = {line.get_label(): line.get_xdata() for line in picture.figure.axes[0].lines}
    np.testing.assert_allclose(lines["description"], rows["described"])
    np.testing.assert_allclose(lines["best possible"], rows["best"])
    other = Results(results.params, results.layout)
    other.evidence.loc[other.evidence["source"] == "measured", "described"] = np.nan
    assert evidence_figures.held_out(other) is None


def test_null_is_drawn_with_the_similarities(results, pictures):
    strips = next(picture for picture in pictures if picture.name == "similarities")
    null = results.nulls.query("network == 'trained' and layer == 'conv1a' and concept_set == 'emotions'").iloc[0]
    bar = next(line for line in strips.figure.axes[0].lines if line.get_label() == "random units, emotions")
    low, high = bar.get_xdata()
    assert high == pytest.approx(null["quantiles"][95])
    assert low <= high


def test_the_page_tells_of_a_second_look_at_the_test(results):
    notes = html.contract_notes(results)
    assert len(notes) == 1
    assert "unchanged" in notes[0]
    assert answer.second_look(results) == ""
    changed = dataclasses.replace(results.params, seed=results.params.seed + 1)
    later = Results(changed, results.layout)
    assert "changed after its test was read: params.seed" in html.contract_notes(later)[0]
    assert answer.second_look(later) in answer.answer(later).more
