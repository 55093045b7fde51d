import json
from urllib.parse import quote

import pytest
from programs import free_port, mlflow_program

from emobench.tracking.runs import RunRecord
from emobench.tracking.tracker import Tracker

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*"),
]
DATASET = {"name": "small", "digest": "0123456789abcdef", "source": "drawn"}


def edit(number: int, accuracy: float) -> RunRecord:
    settings = {"layer": "lin2", "arm": "similarity", "factor": f"{number / 2:g}"}
    return RunRecord(
        f"edit/similarity_{number}", "edit", settings, {"test_accuracy": accuracy, "val_nll": 1 + number / 8}
    )


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A store with a benchmark of two edits: its address and what was logged."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('ui') / 'mlflow.db'}"
    benchmark = RunRecord("benchmark/small", "benchmark", {"name": "small"}, {"baseline_test_accuracy": 0.6942})
    return uri, Tracker(uri, "small", DATASET).log(benchmark, [edit(2, 0.7125), edit(3, 0.6875)], "content")


@pytest.fixture(scope="module")
def server(logged, tmp_path_factory):
    """The address of `mlflow ui` on that store."""
    with mlflow_program("ui", logged[0], tmp_path_factory.mktemp("server"), port=free_port()) as address:
        yield address


def test_two_edits_can_be_compared(visit, server, logged):
    ids = logged[1]
    runs, experiments = list(ids["runs"].values()), [ids["experiment"]]
    address = f"{server}/#/compare-runs?runs={quote(json.dumps(runs))}&experiments={quote(json.dumps(experiments))}"
    page = visit(address, own=False)
    page.get_by_text("Comparing 2 Runs from 1 Experiment").wait_for()
    page.get_by_text("val_nll").first.wait_for()
    words = page.inner_text("body").split("Run details")[1]
    for text in ("similarity_2", "similarity_3", *runs, "test_accuracy", "0.713", "0.688", "val_nll", "1.25", "1.375"):
        assert text in words
    assert "0.6942" not in words
    page.get_by_text("Parallel Coordinates Plot").wait_for()
    page.locator("svg text", has_text="test_accuracy").first.wait_for()
