import pandas as pd
from reporting.small_results import small_params, write_results

from emobench.stages import report

TABLES = ("layers.csv", "configs.csv", "verdicts.csv", "top_units.csv", "controls.csv", "atlas.html")


def files(layout) -> dict[str, bytes]:
    return {
        path.relative_to(layout.root).as_posix(): path.read_bytes()
        for folder in (layout.reports, layout.artifacts / "report")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_same_inputs_give_the_same_bytes_wherever_they_lie(tmp_path):
    params = small_params()
    layouts = [write_results(tmp_path / name, params) for name in ("one", "two")]
    (layouts[1].reports / "figures").mkdir()
    (layouts[1].reports / "figures" / "of_an_earlier_run.svg").write_text("<svg/>")
    for layout in layouts:
        report.run(params, layout)
    first, second = map(files, layouts)
    assert first == second
    assert {f"reports/small/{name}" for name in TABLES} <= set(first)
    assert sum(name.startswith("reports/small/figures/") for name in first) > 12
    assert all(str(tmp_path).encode() not in data for data in first.values())
    assert b"data:image/webp" in first["reports/small/index.html"]


def test_no_pixel_of_real_faces_reaches_the_reports(tmp_path):
    params = small_params("fer2013")
    layout = write_results(tmp_path, params)
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


def test_given_weights_and_a_grid_of_degenerate_cells(tmp_path):
    params = small_params()
    layout = write_results(tmp_path, params)
    (layout.reports / "history.csv").write_text("epoch,train_loss,val_loss,val_accuracy,lr\n")
    verdicts = pd.read_parquet(layout.artifacts / "verdicts.parquet")
    verdicts[verdicts["selected_on"] != "val"].to_parquet(layout.artifacts / "verdicts.parquet")
    report.run(params, layout)
    page = (layout.reports / "index.html").read_text()
    assert "No edit can be judged" in page
    assert "Training of the baseline" not in page
    assert not (layout.reports / "figures" / "history.svg").exists()
