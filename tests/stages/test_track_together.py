"""Two processes that track one benchmark at once, into a store that nobody has made yet."""

import json
import pickle
import subprocess
import sys
from collections import Counter

import pytest
from reporting.small_tracked import write_tracked

from emobench.reporting.results import Results
from emobench.tracking.runs import run_records
from emobench.tracking.tracker import MlflowClient

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*"),
]
SCRIPT = """
import pickle, sys
params, layout = pickle.load(open(sys.argv[1], "rb"))
from emobench.stages import track
track.run(params, layout)
"""


def test_every_run_is_there_once(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    params, layout = write_tracked(tmp_path)
    (tmp_path / "given.pickle").write_bytes(pickle.dumps((params, layout)))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "given.pickle")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [(process.communicate()[1], process.returncode) for process in both]
    assert [code for _, code in ends] == [0, 0], [text[-2000:] for text, _ in ends]
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "small"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    keys = Counter(run.data.tags["key"] for run in runs)
    wanted = {record.key for record in run_records(Results(params, layout))} | {f"benchmark/{params.name}"}
    assert keys == Counter(wanted)
    assert {run.info.status for run in runs} == {"FINISHED"}
    noted = json.loads((layout.artifacts / "mlflow.json").read_text())
    assert set(noted["runs"].values()) | {noted["parent"]} == {run.info.run_id for run in runs}
    assert len(client.search_model_versions("name = 'small'")) == 1
