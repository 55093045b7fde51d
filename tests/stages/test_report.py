import dataclasses
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from kinds import FIVE, VGG, network_of
from reporting.real_run import as_fer2013
from reporting.small_results import small_params, write_dissection, write_results

from emobench.errors import UserError
from emobench.files import write_json, write_parquet
from emobench.layout import Layout
from emobench.reporting.figures import dissection as figures
from emobench.reporting.page import render_page
from emobench.reporting.published import PUBLISHED_ACCURACY
from emobench.reporting.results import Results
from emobench.stages import report

TABLES = ("layers.csv", "configs.csv", "verdicts.csv", "top_units.csv", "controls.csv", "atlas.html")


def files(layout) -> dict[str, bytes]:
    return {
        path.relative_to(layout.root).as_posix(): path.read_bytes()
        for folder in (layout.reports, layout.artifacts / "report")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_same_inputs_give_the_same_bytes_wherever_they_lie(real, tmp_path):
    params, made = real
    layouts = [Layout(params.name, tmp_path / name) for name in ("one", "two")]
    for layout in layouts:
        shutil.copytree(made.root, layout.root)
    (layouts[1].reports / "figures").mkdir(exist_ok=True)
    (layouts[1].reports / "figures" / "of_an_earlier_run.svg").write_text("<svg/>")
    for layout in layouts:
        report.run(params, layout)
    first, second = map(files, layouts)
    assert first == second
    assert {f"reports/small/{name}" for name in TABLES} <= set(first)
    assert sum(name.startswith("reports/small/figures/") for name in first) > 12
    assert all(str(tmp_path).encode() not in data for data in first.values())
    assert b"data:image/webp" in first["reports/small/index.html"]
    assert b"WEBP" in first["reports/small/figures/top_images/000.webp"]


def test_no_pixel_of_real_faces_reaches_the_reports(real_copy):
    params, layout = real_copy
    params = as_fer2013(params, layout)
    report.run(params, layout)
    written = files(layout)
    shown = {name for name, data in written.items() if b"data:image" in data or b"<image" in data}
    assert shown == {"artifacts/small/report/index.html"}
    sheets = [name for name, data in written.items() if b"WEBP" in data]
    assert sheets
    assert all(name.startswith("artifacts/small/report/") for name in sheets)
    assert b"photos of people" in written["artifacts/small/report/index.html"]
    reported = {name.rsplit(".")[-1] for name in written if name.startswith("reports/")}
    assert reported == {"html", "svg", "csv", "json"}
    assert b"published: 69.42%" in written["reports/small/index.html"]


@pytest.mark.parametrize("name", ["history.csv", "network.json", "clip.json", "concept_classes.csv"])
def test_what_a_stage_was_given_must_be_what_it_noted(real_copy, name):
    params, layout = real_copy
    path = layout.reports / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(UserError, match=rf"{name} is not the file that .*/seen/\w+.json notes: it was changed"):
        report.run(params, layout)


def test_given_weights_and_a_grid_of_degenerate_cells(real_copy):
    params, layout = real_copy
    (layout.reports / "history.csv").write_text("epoch,train_loss,val_loss,val_accuracy,lr\n")
    shutil.rmtree(layout.artifacts / "seen")  # of results without notes all is believed
    verdicts = pd.read_parquet(layout.artifacts / "verdicts.parquet")
    write_parquet(layout.artifacts / "verdicts.parquet", verdicts[verdicts["selected_on"] != "val"])
    report.run(params, layout)
    page = (layout.reports / "index.html").read_text()
    assert "No edit can be judged" in page
    assert "Training of the baseline" not in page
    assert not (layout.reports / "figures" / "history.svg").exists()


def test_pages_tell_of_the_data_and_the_network_at_hand(tmp_path):
    params = small_params(kind=FIVE)
    layout = write_results(tmp_path, params, kind=FIVE)
    report.run(params, layout)
    page, atlas = (layout.reports / "index.html").read_text(), (layout.reports / "atlas.html").read_text()
    assert "folder: mine, stored as RGB pictures of 40 x 40 pixels. There are 140 train, 70 val, 105 test" in page
    assert "of 5 classes: angry, happy, sad, surprise, bored." in page
    assert "own_network.py:build (width 4), trained here; it takes 3 x 32 x 32 values an image. 4 of its 4" in page
    assert "units of the output layer (say), each of which stands for a class" in page
    assert "folder: mine" in atlas
    written = files(layout)
    for name, data in written.items():
        for word in (b"FER2013", b"69.42%", b"lin2", b"published: "):
            assert word not in data, (name, word)
    assert len(pd.read_csv(layout.reports / "published_grid.csv")) == 0
    assert not any(b"data:image" in data for name, data in written.items() if name.startswith("reports/"))
    assert b"unless you have their consent" in written["artifacts/small/report/index.html"]
    assert set(pd.read_csv(layout.reports / "top_units.csv")["layer"]) == set(FIVE.layers)


def test_only_the_papers_network_on_its_own_labels_stands_beside_the_published_numbers(real_copy):
    params, layout = real_copy
    params = as_fer2013(params, layout)
    assert Results(params, layout).published == PUBLISHED_ACCURACY
    voted = dataclasses.replace(params, data=dataclasses.replace(params.data, labels="ferplus"))
    assert Results(voted, layout).published is None
    other = Results(params, layout)
    other.network = dataclasses.replace(other.network, architecture="torchvision/resnet18")
    assert other.published is None


def test_many_layers_stay_readable(tmp_path):
    layers = [f"features.denseblock{block}.denselayer{number}.conv" for block in range(5) for number in range(10)]
    card = network_of(VGG).card
    params = small_params()
    layout = write_results(tmp_path, params)
    cards = [dataclasses.replace(card.layers[number % 10], name=name) for number, name in enumerate(layers)]
    deep = dataclasses.replace(card, layers=(*cards, card.layers[-1]), recorded=())
    write_json(layout.models / "network" / "network.json", deep.to_json())
    write_dissection(layout, pd.read_parquet(layout.data / "index.parquet"), np.random.default_rng(0), 4, deep)
    params = dataclasses.replace(params, edit=dataclasses.replace(params.edit, layer=layers[-1]))
    configs = pd.read_parquet(layout.artifacts / "configs.parquet")
    write_parquet(layout.artifacts / "configs.parquet", configs.assign(layer=layers[-1]))
    results = Results(params, layout)
    for picture in figures.draw(results):
        assert picture.figure.get_figheight() < 14
        for axes in picture.figure.axes:
            assert max(len(axes.get_xticks()), len(axes.get_yticks())) <= 45
    labels = [label.get_text() for label in figures.similarity_ridges(results).figure.axes[0].get_yticklabels()]
    assert labels[:2] == ["…eblock0.denselayer0.conv", "…eblock0.denselayer2.conv"]
    page = render_page(results, [], pixels=False)
    shown = re.findall('<h3 id="units-([^"]+)"', page)
    assert len(shown) == 3
    assert layers[-1] in shown
