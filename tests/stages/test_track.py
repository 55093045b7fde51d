import dataclasses
import json
import sqlite3
import subprocess

import numpy as np
import pandas as pd
import pytest
from reporting.small_tracked import write_tracked

from emobench.errors import UserError
from emobench.reporting import tables
from emobench.reporting.results import Results
from emobench.stages import track
from emobench.tracking import tracker as mlflow_log
from emobench.tracking.names import SHOWN
from emobench.tracking.origin import git_tags, lock_digest
from emobench.tracking.overview import NOTE, VIEW
from emobench.tracking.runs import MOST, run_records

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*")


@pytest.fixture(autouse=True)
def _no_store_of_ones_own(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def small(tmp_path, empty_store):
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    return write_tracked(tmp_path)


@pytest.fixture(scope="module")
def logged(tmp_path_factory, empty_store):
    """A benchmark that is logged once, for tests that only look."""
    root = tmp_path_factory.mktemp("logged")
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    (root / "dvc.lock").write_text("stages:\n  edit: {md5: a}\n  track: {md5: b}\n")
    params, layout = write_tracked(root, pictures=True)
    track.run(params, layout)
    return params, layout


def client_of(layout) -> mlflow_log.MlflowClient:
    return mlflow_log.MlflowClient(f"sqlite:///{layout.root / 'mlflow.db'}")


def all_runs(layout):
    client = client_of(layout)
    experiment = client.get_experiment_by_name("small").experiment_id
    return client.search_runs([experiment], max_results=1000)


def everything(layout) -> tuple[dict, list]:
    """All runs by id, and all versions in the model registry."""
    versions = [dict(one) for one in client_of(layout).search_model_versions("name = 'small'")]
    return {run.info.run_id: run.to_dictionary() for run in all_runs(layout)}, versions


def expected_count() -> int:
    """The benchmark, the baseline, dissections, edits, and controls by edit and kind."""
    return 1 + 1 + 3 * 2 + 2 + 2 * 2 + 2 * 4


def test_everything_is_logged_once_and_can_be_filtered(logged):
    params, layout = logged
    runs = all_runs(layout)
    assert len(runs) == expected_count()
    assert {run.info.status for run in runs} == {"FINISHED"}
    results, client = Results(params, layout), client_of(layout)
    experiment = client.get_experiment_by_name("small").experiment_id
    edited = results.config(results.paper_id)
    query = (
        f"metrics.test_accuracy > {edited['accuracy'] - 1e-6} and params.layer = 'lin2' and params.arm = 'similarity'"
    )
    found = [run for run in client.search_runs([experiment], query) if run.data.params["factor"] == "1.5"]
    run = next(run for run in found if run.data.params["tau"] == "0.0")
    assert run.data.metrics["test_accuracy"] == edited["accuracy"]
    both = results.config(results.paper_id, "val_test")["accuracy"]
    assert run.data.metrics["delta_published"] == pytest.approx(both - 4983 / 7178, abs=1e-7)
    base = results.config("baseline", "val")["accuracy"]
    delta = results.config(results.paper_id, "val")["accuracy"] - base
    assert run.data.metrics["val_delta_accuracy"] == pytest.approx(delta)
    for other in (run for run in runs if run.data.tags["kind"] == "edit"):
        recall = results.config(other.data.params["config_id"])["recall_happy"]
        change = recall - results.config("baseline")["recall_happy"]
        if "verdict" not in other.data.tags:
            assert other.data.metrics["test_delta_recall_happy"] == pytest.approx(change)
    written = json.loads((layout.artifacts / "mlflow.json").read_text())
    assert written["runs"]["edit/" + results.paper_id] == run.info.run_id
    assert written["versions"] == {"baseline": "1", "champion": "1"}
    assert run.data.tags["mlflow.parentRunId"] == written["parent"]
    assert run.inputs.dataset_inputs[0].dataset.digest == results.imageset.digest()[:36]


def test_parent_carries_params_answer_and_origin(logged):
    _, layout = logged
    parent = next(run for run in all_runs(layout) if run.data.tags["kind"] == "benchmark")
    assert parent.data.params["dissect.soft_wpmi.top_k"] == "100"
    assert parent.data.metrics["clip_mean_auroc"] == 0.91
    assert "the network gets" in parent.data.tags[NOTE]
    assert parent.data.tags["limited"] == "false"
    assert (parent.data.tags["network_precision"], parent.data.tags["clip_precision"]) == ("bfloat16", "float32")
    assert json.loads(parent.data.tags["hashes"])["dvc_lock"] == lock_digest(layout.root)
    assert parent.data.tags["preset"] == "small"


def test_the_experiment_opens_as_machine_learning_with_a_description_and_a_view(logged):
    _, layout = logged
    experiment = client_of(layout).get_experiment_by_name("small")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    address = f"#/experiments/{experiment.experiment_id}/runs?viewStateShareKey={VIEW}"
    assert f"]({address})" in experiment.tags[NOTE]
    view = json.loads(experiment.tags[f"mlflow.sharedViewState.{VIEW}"])
    run = next(run for run in all_runs(layout) if "shown" in run.data.tags and run.data.tags["kind"] == "edit")
    known = {f"metrics.`{name}`" for name in run.data.metrics} | {f"tags.`{name}`" for name in run.data.tags}
    known |= {f"params.`{name}`" for name in ("arm", "tau", "factor")}
    assert {view["orderByKey"], *view["selectedColumns"]} <= known


def test_what_somebody_wrote_of_an_experiment_stays(small):
    _, layout = small
    client = client_of(layout)
    made = client.create_experiment("small")
    client.set_experiment_tag(made, NOTE, "mine")
    dataset = {"name": "small", "digest": "0", "source": "drawn"}
    mlflow_log.Tracker(f"sqlite:///{layout.root / 'mlflow.db'}", "small", dataset)
    tags = client.get_experiment(made).tags
    assert (tags[NOTE], tags["mlflow.experimentKind"]) == ("mine", "custom_model_development")


def test_runs_are_few_numbers_under_names_that_differ_at_once(logged):
    _, layout = logged
    runs = sorted(all_runs(layout), key=lambda run: -run.info.start_time)
    for run in runs:
        assert len(run.data.metrics) <= MOST
        assert len(run.data.params) <= MOST
        assert not [name for name in run.data.metrics if name.startswith("audit_classes")]
        assert not {"content", "dvc_lock", "git_commit", "dataset_sha256"} & run.data.tags.keys()
    assert len({run.info.run_name[:SHOWN] for run in runs}) == len(runs)
    # The UI shows the latest first: the benchmark, its baseline, the edits that count.
    assert [run.data.tags["kind"] for run in runs[:3]] == ["benchmark", "baseline", "edit"]
    assert runs[0].info.run_name.endswith("no evidence")
    assert {"shown", "verdict"} <= runs[2].data.tags.keys()


def test_notes_tell_the_verdict_and_lead_to_the_page(logged):
    _, layout = logged
    runs = {run.info.run_id: run for run in all_runs(layout)}
    parent = next(run for run in runs.values() if run.data.tags["kind"] == "benchmark")
    address = f"#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}/artifacts/report/index.html"
    noted = [run.data.tags for run in runs.values() if run.data.tags["kind"] in ("benchmark", "edit")]
    for tags in noted:
        assert f"]({address})" in tags[NOTE]
        assert tags[NOTE].startswith("**Verdict: no evidence.**") == ("verdict" in tags)
    assert sum("Not judged" in tags[NOTE] for tags in noted) == len(noted) - sum("verdict" in tags for tags in noted)


def test_long_tables_are_tables_of_mlflow(logged, monkeypatch):
    params, layout = logged
    client, results = client_of(layout), Results(params, layout)
    # load_table asks the store of the process, whatever the client's is; another test may have set one.
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", client.tracking_uri)
    parent = next(run for run in all_runs(layout) if run.data.tags["kind"] == "benchmark")
    shown = {table["path"] for table in json.loads(parent.data.tags["mlflow.loggedArtifacts"])}
    assert shown == {f"tables/{name}.json" for name in ("params", "audit", "held_out", "verdicts", "edits", "layers")}
    table = client.load_table(parent.info.experiment_id, "tables/layers.json", [parent.info.run_id])
    assert table["num_units"].tolist() == results.layers["num_units"].tolist()
    every = client.load_table(parent.info.experiment_id, "tables/params.json", [parent.info.run_id])
    assert "clip.training.epochs" in set(every["name"])


def test_protocol_and_verdict_stand_where_they_are_true(logged):
    params, layout = logged
    results = Results(params, layout)
    runs = {run.data.tags["key"]: run.data.tags for run in all_runs(layout)}
    selected = {
        config_id: list(rows["selected_on"].unique()) for config_id, rows in results.verdicts.groupby("config_id")
    }
    protocols = {"val": "honest", "paper": "paper"}
    for key, tags in runs.items():
        expected = selected.get(key.partition("/")[2])
        if key.startswith("benchmark/"):
            assert (tags["protocol"], tags["verdict"]) == ("honest, paper", "no evidence")
        elif expected is None:
            assert tags.keys().isdisjoint({"protocol", "verdict"})
        else:
            assert set(tags["protocol"].split(", ")) == {protocols[one] for one in expected}
            assert tags["verdict"] == "no evidence"
    assert len(selected) == sum("selected_on" in tags for tags in runs.values())


def test_lock_digest_leaves_its_own_stage_out(tmp_path):
    assert lock_digest(tmp_path) is None
    texts = ["{edit: {md5: a}}", "{edit: {md5: a}, track: {md5: b}}", "{edit: {md5: c}, track: {md5: b}}"]
    digests = []
    for text in texts:
        (tmp_path / "dvc.lock").write_text(f"stages: {text}\n")
        digests.append(lock_digest(tmp_path))
    assert digests[0] == digests[1] != digests[2]


def test_git_commit_and_changes(tmp_path):
    assert git_tags(tmp_path) == {}
    for command in ("init -q", "-c user.name=a -c user.email=a@b commit -q --allow-empty -m x"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    tags = git_tags(tmp_path)
    assert len(tags["mlflow.source.git.commit"]) == 40
    assert tags["git_changed"] == "false"


def test_confusion_matrices_as_numbers_for_all_and_as_pictures_for_the_shown(logged):
    params, layout = logged
    results = Results(params, layout)
    written = json.loads((layout.artifacts / "mlflow.json").read_text())
    folder = layout.root / "mlartifacts" / "small"
    pictured = set()
    for key, run_id in written["runs"].items():
        files = {path.name for path in (folder / run_id / "artifacts").glob("*")}
        if key.startswith("control/"):
            draws = pd.read_csv(folder / run_id / "artifacts" / "draws.csv")
            _, control_of, criterion, kind = key.split("/")
            drawn = tables.controls_of(results, control_of, criterion, "test")
            expected = drawn.loc[drawn["arm"] == kind].set_index("config_id")["accuracy"]
            assert draws["test"].tolist() == pytest.approx(expected[draws["config_id"]].tolist(), abs=1e-5)
        elif not key.startswith("dissection/"):
            counts = json.loads((folder / run_id / "artifacts" / "confusion.json").read_text())
            assert counts["test"] == results.confusion(key.partition("/")[2]).tolist()
        if "confusion_test.png" in files:
            assert "per_class_test.csv" in files
            pictured.add(key.partition("/")[2])
    assert pictured == {results.baseline_id, *results.verdicts["config_id"]}


def test_a_second_time_logs_nothing(logged):
    params, layout = logged
    first = (layout.artifacts / "mlflow.json").read_bytes()
    before = everything(layout)
    assert len(before[1]) == 1
    track.run(params, layout)
    assert everything(layout) == before
    assert (layout.artifacts / "mlflow.json").read_bytes() == first


def test_a_logging_interrupted_again_and_again_is_completed_not_doubled(small, monkeypatch):
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    params, layout = small

    def interrupted(call: str) -> None:
        owner = LocalArtifactRepository if call == "log_artifacts" else mlflow_log.MlflowClient
        whole, calls = getattr(owner, call), []

        def failing(*args, **options):
            calls.append(call)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return whole(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(owner, call, failing)
            with pytest.raises(KeyboardInterrupt):
                track.run(params, layout)

    for call in ("log_inputs", "log_artifacts", "create_run", "log_batch", "set_terminated"):
        interrupted(call)
        assert not (layout.artifacts / "mlflow.json").exists()
        assert 0 < len(all_runs(layout)) < expected_count()
    track.run(params, layout)
    runs = all_runs(layout)
    assert len(runs) == expected_count()
    assert len({run.data.tags["key"] for run in runs}) == expected_count()
    assert {run.info.status for run in runs} == {"FINISHED"}
    records = {record.key: record for record in run_records(Results(params, layout))}
    for run in runs:
        if run.data.tags["kind"] != "benchmark":
            assert run.data.metrics == pytest.approx(records[run.data.tags["key"]].metrics)
    history = client_of(layout).get_metric_history(runs[-1].info.run_id, next(iter(runs[-1].data.metrics)))
    assert len(history) == 1


@pytest.mark.slow
def test_a_lost_run_and_a_new_store_are_filled_again(small, tmp_path, monkeypatch, empty_store):
    params, layout = small
    track.run(params, layout)
    written = json.loads((layout.artifacts / "mlflow.json").read_text())
    client_of(layout).delete_run(written["runs"]["baseline/baseline"])
    track.run(params, layout)
    assert len(all_runs(layout)) == expected_count()
    again = json.loads((layout.artifacts / "mlflow.json").read_text())
    assert again["parent"] == written["parent"]
    assert [key for key in again["runs"] if again["runs"][key] != written["runs"][key]] == ["baseline/baseline"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "store.db").write_bytes(empty_store.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other' / 'store.db'}")
    track.run(params, layout)
    filled = json.loads((layout.artifacts / "mlflow.json").read_text())
    assert filled["parent"] != written["parent"]
    assert list(filled["runs"]) == list(written["runs"])
    assert (tmp_path / "other" / "mlartifacts" / "small").is_dir()
    assert filled["versions"] == written["versions"]


def test_missing_weights_are_told_before_anything_is_logged(small):
    params, layout = small
    (layout.models / "network" / "weights.safetensors").unlink()
    with pytest.raises(UserError, match="run the stage 'network' first"):
        track.run(params, layout)
    assert client_of(layout).get_experiment_by_name("small") is None


@pytest.mark.slow
def test_another_result_is_another_parent_but_another_look_is_not(small):
    params, layout = small
    track.run(params, layout)
    track.run(dataclasses.replace(params, report=dataclasses.replace(params.report, top_units=1)), layout)
    assert len(all_runs(layout)) == expected_count()
    predictions = np.load(layout.artifacts / "predictions.npy")
    predictions[0] = (predictions[0] + 1) % 7
    np.save(layout.artifacts / "predictions.npy", predictions)
    track.run(params, layout)
    assert len(all_runs(layout)) == 2 * expected_count()


def test_synthetic_faces_are_not_compared_with_the_published_number(tmp_path):
    params, layout = write_tracked(tmp_path, "synthetic")
    for record in run_records(Results(params, layout)):
        assert "delta_published" not in record.metrics
        assert all(np.isfinite(value) for value in record.metrics.values())
        assert "nan" not in record.params.values()


def test_pictures_can_be_left_out(tmp_path):
    params, layout = write_tracked(tmp_path, pictures=True)
    bare = dataclasses.replace(params, track=dataclasses.replace(params.track, pictures=False))
    assert not any(record.pictures for record in run_records(Results(bare, layout)))
    results = Results(params, layout)
    drawn = [draw() for record in run_records(results) for draw in record.pictures.values()]
    assert len(drawn) == 1 + results.verdicts["config_id"].nunique()
    assert all(data.startswith(b"\x89PNG") for data in drawn)


def test_default_store_is_in_the_outermost_folder_with_dvc(tmp_path, monkeypatch):
    inner = tmp_path / "repo" / ".dvc" / "tmp" / "exps" / "tmpabc"
    (inner / ".dvc").mkdir(parents=True)
    assert mlflow_log.store_uri(inner) == f"sqlite:///{tmp_path / 'repo' / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5001")
    assert mlflow_log.store_uri(inner) == "http://127.0.0.1:5001"


def test_a_store_that_is_down_is_one_clear_line(small, monkeypatch):
    params, layout = small
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"^MLflow store http://127.0.0.1:9 can't be used .*dvc repro track") as error:
        track.run(params, layout)
    assert "\n" not in str(error.value)
    assert not (layout.artifacts / "mlflow.json").exists()


def test_a_locked_store_is_one_clear_line_and_logged_later(small, monkeypatch):
    params, layout = small
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{layout.root / 'mlflow.db'}?timeout=0.1")
    with sqlite3.connect(layout.root / "mlflow.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match="mlflow.db.* can't be used .*locked"):
            track.run(params, layout)
        other.rollback()
    track.run(params, layout)
    assert len(all_runs(layout)) == expected_count()


def test_telemetry_is_off():
    from mlflow.telemetry.client import get_telemetry_client
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()
    assert get_telemetry_client() is None


def test_passwords_stay_out_of_messages():
    with (
        pytest.raises(UserError, match=r"postgresql://me:\*\*\*@db:5432/runs can't be used \(no route\)"),
        mlflow_log.clear_errors("postgresql://me:secret@db:5432/runs"),
    ):
        raise OSError("no route")
