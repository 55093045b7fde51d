"""A benchmark that asks for no edit: dissected, shown and tracked all the same."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from emobench.edits.verdicts import no_verdicts
from emobench.errors import UserError
from emobench.files import write_parquet
from emobench.params import load_params
from emobench.reporting.results import Results
from emobench.stages import compare, edit, report, track

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*")]


@pytest.mark.slow
def test_the_page_the_atlas_and_the_runs_come_without_an_edit(real_copy, empty_store, monkeypatch) -> None:
    params, layout = real_copy
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(layout.root)
    store = layout.root / "mlflow.db"
    store.write_bytes(empty_store.read_bytes())
    search = dataclasses.replace(params.edit.search, kinds=[], joint=[])
    params = dataclasses.replace(params, edit=dataclasses.replace(params.edit, arms=[], layer="auto", search=search))
    assert not params.edit.asked
    for stage in (edit, compare, report, track):
        stage.run(params, layout)
    configs = pd.read_parquet(layout.artifacts / "configs.parquet")
    assert set(configs["arm"]) == {"baseline"}
    assert len(pd.read_parquet(layout.artifacts / "verdicts.parquet")) == 0
    page = (layout.reports / "index.html").read_text()
    assert "No edit was asked for; the network gets" in page
    assert "units described by more than chance" in page
    assert "What the edits change" not in page
    assert "What the units react to" in page
    assert (layout.reports / "atlas.html").is_file()
    compared = json.loads((layout.reports / "compare.json").read_text())
    assert "chosen_edit" not in compared
    client = MlflowClient(f"sqlite:///{store}")
    experiment = client.get_experiment_by_name(params.name)
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    kinds = pd.Series([run.data.tags.get("kind") for run in runs]).value_counts()
    assert kinds["benchmark"] == kinds["baseline"] == 1
    assert kinds["dissection"] == len(pd.read_parquet(layout.artifacts / "layers.parquet"))
    assert "edit" not in kinds


def test_a_lost_table_is_not_taken_for_one_without_edits(real_copy) -> None:
    params, layout = real_copy
    write_parquet(layout.artifacts / "verdicts.parquet", no_verdicts())
    with pytest.raises(UserError, match="verdicts.parquet is not as it should be .it has no rows."):
        _ = Results(params, layout).verdicts


def test_nothing_asked_is_a_valid_wish(tmp_path) -> None:
    text = (Path(__file__).parents[2] / "params.yaml").read_text()
    for old, new in (("  arms: [similarity", "  arms: [] #"), ("    kinds: [free,", "    kinds: [] #"),
                     ("    joint: [lin1, lin2]", "    joint: []")):  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "params.yaml").write_text(text)
    assert not load_params(tmp_path / "params.yaml").edit.asked
