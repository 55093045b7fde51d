import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from emobench import cli
from emobench.comparison.networks import COLUMNS, networks, text
from emobench.errors import UserError

REPORTS = Path(__file__).parents[2] / "reports" / "reference"


@pytest.fixture
def reports(tmp_path):
    """The demo's committed report twice, the second one as another benchmark's."""
    for name in ("one", "two"):
        (tmp_path / "reports" / name).mkdir(parents=True)
        for table in ("configs", "layers", "verdicts"):
            shutil.copy(REPORTS / "demo" / f"{table}.csv", tmp_path / "reports" / name)
    return tmp_path / "reports"


def test_a_row_says_what_the_tables_say(reports):
    row = networks(reports, ["one"])[0]
    configs = pd.read_csv(reports / "one" / "configs.csv")
    test = configs[(configs["config_id"] == "baseline") & (configs["images"] == "test")].iloc[0]
    layers = pd.read_csv(reports / "one" / "layers.csv").set_index(["layer", "concept_set", "similarity_fn"])
    layer = layers.loc[(test["layer"], test["concept_set"], test["similarity_fn"])]
    verdicts = pd.read_csv(reports / "one" / "verdicts.csv")
    paper = verdicts[verdicts["selected_on"] == "paper"].set_index("images")
    assert list(row) == list(COLUMNS)
    assert row["accuracy"] == test["accuracy"]
    assert (row["units"], row["above_tau"]) == (layer["num_units"], layer["num_interp"])
    assert row["untrained_significant"] == layer["untrained_prop_significant"]
    assert row["auprc"] == layer["measured_auprc_described"]
    for images in ("val_test", "test"):
        assert row[f"paper_p_{images}"] == paper.loc[images, "mcnemar_p"]
        assert row[f"paper_points_{images}"] == pytest.approx(100 * paper.loc[images, "delta_accuracy"])
    judged = verdicts[verdicts["images"] == "test"].drop_duplicates("config_id")
    assert sum(int(part.split()[0]) for part in row["verdicts"].split(", ")) == len(judged)


def test_without_measured_concepts_clips_scores_are_the_evidence(reports):
    path = reports / "two" / "layers.csv"
    layers = pd.read_csv(path)
    layers = layers.drop(columns=[name for name in layers if name.startswith("measured_")])
    layers.to_csv(path, index=False)
    measured, clip = networks(reports)
    assert clip["auprc"] != measured["auprc"]
    assert clip["auprc"] in layers["clip_auprc_described"].tolist()


def test_for_people_and_for_programs(reports):
    rows = networks(reports)
    assert [row["benchmark"] for row in json.loads(text(rows, "json"))] == ["one", "two"]
    assert text(rows, "csv").splitlines()[0] == ",".join(COLUMNS)
    assert f"{rows[0]['above_tau']} of {rows[0]['units']}" in text(rows, "md")


def test_what_is_missing_is_named(reports, monkeypatch):
    with pytest.raises(UserError, match="three.*one, two"):
        networks(reports, ["three"])
    (reports / "one" / "layers.csv").unlink()
    with pytest.raises(UserError, match=r"one.layers.csv can't be read \(FileNotFoundError\)"):
        networks(reports)
    (reports / "two" / "layers.csv").write_text("layer,units\nlin2,3\n")
    monkeypatch.chdir(reports.parent)
    result = CliRunner().invoke(cli.main, ["networks", "two"])
    assert result.exit_code == 1
    assert "the report's tables lack" in result.output
    with pytest.raises(UserError, match="no benchmark with results below"):
        networks(reports / "one")
