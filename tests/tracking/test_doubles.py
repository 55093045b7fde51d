"""Runs made twice: the one that got furthest stays, the others go with all that they hold."""

import shutil

import pandas as pd
import pytest

from emobench.tracking.doubles import PARENT, forget, furthest, nested_runs
from emobench.tracking.tracker import MlflowClient, log_tables

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*")


class Store:
    """A store with an experiment."""

    def __init__(self, folder, empty_store) -> None:
        shutil.copy(empty_store, folder / "mlflow.db")
        self.uri, self.files = f"sqlite:///{folder / 'mlflow.db'}", folder / "files"
        self.client = MlflowClient(self.uri)
        self.experiment = self.client.create_experiment("doubles", artifact_location=str(self.files))

    def run(self, parent=None):
        """A run with a file; below ``parent``, if there is one."""
        tags = {PARENT: parent.info.run_id} if parent else {}
        made = self.client.create_run(self.experiment, tags=tags)
        self.client.log_text(made.info.run_id, "words", "folder/file.txt")
        return made

    def stored(self) -> set[str]:
        """The runs that have files."""
        return {path.parents[2].name for path in self.files.rglob("*.txt")}


@pytest.fixture
def store(tmp_path, empty_store) -> Store:
    return Store(tmp_path, empty_store)


def test_the_finished_run_stays_else_the_one_with_the_most_in_it(store):
    fuller, empty = store.run(), store.run()
    nested = store.run(fuller)
    ids = [run.info.run_id for run in nested_runs(store.client, store.experiment, fuller.info.run_id)]
    assert ids == [nested.info.run_id]
    for runs in ([fuller, empty], [empty, fuller]):
        assert furthest(store.client, store.experiment, runs) is fuller
    store.client.set_terminated(empty.info.run_id)
    finished = store.client.get_run(empty.info.run_id)
    assert furthest(store.client, store.experiment, [fuller, finished]) is finished
    assert furthest(store.client, store.experiment, []) is None


def test_what_a_forgotten_run_holds_goes_too(store):
    double, kept = store.run(), store.run()
    store.run(double)
    store.run(kept)
    assert len(store.stored()) == 4
    forget(store.client, store.uri, [double])
    left = {run.info.run_id for run in store.client.search_runs([store.experiment])}
    assert len(left) == 2
    assert kept.info.run_id in left
    assert store.stored() == left


def test_a_torn_table_of_an_interrupted_logging_is_logged_anew(store):
    run = store.run()
    store.client.log_text(run.info.run_id, '{"columns": ["a"], "da', "tables/one.json")
    tables = {"one": pd.DataFrame({"a": [1, 2]}), "two": pd.DataFrame({"b": ["x"]})}
    log_tables(store.client, store.uri, run, tables)
    folder = store.files / run.info.run_id / "artifacts" / "tables"
    for name, table in tables.items():
        assert pd.read_json(folder / f"{name}.json", orient="split").equals(table)
