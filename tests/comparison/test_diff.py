import hashlib
import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from reporting import small_reports as small
from reporting.small_results import small_params, write_results

from emobench.comparison.diff import compare, source
from emobench.edits import predictions as answers
from emobench.errors import UserError
from emobench.reporting.results import Results
from emobench.tracking.benchmark_run import run_files
from emobench.tracking.tracker import PARENT, Metric, MlflowClient, Param

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*")
FEW, MANY, OTHERS = range(5), range(20), range(40, 44)


@pytest.fixture(autouse=True)
def _no_store_of_ones_own(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def write(root: Path, wrong, **options) -> str:
    """A benchmark whose baseline errs on some test images and whose chosen edit errs on none."""
    preds = {"baseline": small.answers(wrong), "chosen": small.answers([])}
    return str(small.write_benchmark(root, "demo", preds, **options))


def differ(before, after, root=Path(), **options):
    return compare(source(str(before), root), source(str(after), root), **options)


def exact(gains: int, losses: int) -> float:
    """Two-sided p of the exact McNemar test: a sum of binomial terms."""
    count = gains + losses
    tail = sum(math.comb(count, k) for k in range(min(gains, losses) + 1)) / 2**count
    return min(1.0, 2 * tail)


def pooled(right: tuple[int, int], count: int) -> float:
    """Two-sided p of the z-test of two proportions with the pooled variance."""
    share = sum(right) / (2 * count)
    z = (right[1] - right[0]) / count / math.sqrt(share * (1 - share) * 2 / count)
    return math.erfc(abs(z) / math.sqrt(2))


def test_the_same_images_are_compared_one_by_one(tmp_path) -> None:
    found = differ(write(tmp_path / "a", [*FEW, *OTHERS]), write(tmp_path / "b", MANY))
    assert [row["metric"] for row in found.rows] == ["baseline_test_accuracy", "baseline_test_nll"]
    row = found.rows[0]
    assert (row["benchmark"], row["test"]) == ("demo", "paired")
    assert (row["before"], row["after"]) == (pytest.approx(59 / 68), pytest.approx(48 / 68))
    assert row["difference"] == pytest.approx(-11 / 68)
    assert row["p"] == pytest.approx(exact(4, 15))
    assert row["low"] < row["difference"] < row["high"] < 0
    assert found.regression
    assert "p" not in found.rows[1]
    assert found.notes == ["4 other metrics moved too; --metric '*' shows them"]


def test_a_gain_or_a_loss_within_luck_is_no_regression(tmp_path) -> None:
    worse, better = write(tmp_path / "a", MANY), write(tmp_path / "b", FEW)
    assert not differ(worse, better).regression
    lucky = write(tmp_path / "c", range(8))
    found = differ(better, lucky)
    assert found.rows[0]["p"] == exact(0, 3) == 0.25
    assert not found.regression
    assert differ(better, lucky, level=0.3).regression


def test_nothing_moved(tmp_path) -> None:
    found = differ(write(tmp_path / "a", FEW), write(tmp_path / "b", FEW))
    assert (found.rows, found.notes, found.regression, found.compared) == ([], [], False, 6)
    assert "none of 6 metrics moved" in found.text("table")


def test_patterns_choose_what_is_compared_and_may_end_the_build(tmp_path) -> None:
    paths = write(tmp_path / "a", []), write(tmp_path / "b", range(LEAKING))
    assert [row["metric"] for row in differ(*paths, patterns=["*_val*_accuracy"]).rows] == [
        "baseline_val_test_accuracy"
    ]
    assert differ(*paths, patterns=["baseline_test_accuracy"]).regression
    # All of the images that got worse leak.
    found = differ(*paths, patterns=["baseline_test_noleaks_accuracy", "baseline_test_nll"])
    assert ([row["metric"] for row in found.rows], found.regression) == (["baseline_test_nll"], False)
    with pytest.raises(
        UserError, match=r"no metric of both is named nix\*; known, among others: baseline_test_accuracy"
    ):
        differ(*paths, patterns=["nix*"])


LEAKING = small.LEAKS


def unpaired(found, why: str) -> dict:
    """Checks the first row's test as independent proportions of FEW and MANY wrong answers."""
    row = found.rows[0]
    assert (row["metric"], row["test"]) == ("baseline_test_accuracy", "unpaired")
    assert row["p"] == pytest.approx(pooled((63, 48), 68))
    assert row["low"] < row["difference"] < row["high"] < 0
    assert any(re.search(rf"tested as independent proportions: {why}", note) for note in found.notes), found.notes
    return row


def test_without_predictions_the_shares_are_compared(tmp_path) -> None:
    before, after = write(tmp_path / "a", FEW), write(tmp_path / "b", MANY)
    (tmp_path / "a" / "artifacts" / "demo" / "predictions.npy").unlink()
    found = differ(before, after)
    unpaired(found, "no artifacts/demo/predictions.npy of that result is at hand")
    assert found.regression


def test_predictions_of_other_results_or_images_are_not_used(tmp_path) -> None:
    before, after = write(tmp_path / "a", FEW), write(tmp_path / "b", MANY)
    shutil.copy(tmp_path / "a/artifacts/demo/predictions.npy", tmp_path / "b/artifacts/demo/predictions.npy")
    unpaired(differ(before, after), "the predictions at hand are of other results than these reports")
    unpaired(differ(before, write(tmp_path / "c", MANY, digest="other")), "the predictions at hand are of other images")


def test_another_edit_and_limited_images_are_told(tmp_path) -> None:
    before, after = write(tmp_path / "a", FEW), write(tmp_path / "b", FEW, limited=20)
    path = Path(after) / "compare.json"
    content = json.loads(path.read_text())
    content["chosen_edit"]["config_id"] = "another"
    path.write_text(json.dumps(content))
    notes = differ(before, after).notes
    assert f"demo: the chosen edit was {small.CHOSEN}, is another" in notes
    assert any("made with data.limit: no number counts" in note for note in notes)


def test_folders_of_several_benchmarks_are_compared_by_name(tmp_path) -> None:
    for part, wrong in (("a", FEW), ("b", MANY)):
        write(tmp_path / part, wrong)
        small.write_benchmark(tmp_path / part, f"only-{part}", {"baseline": small.answers([])})
    found = differ(tmp_path / "a" / "reports", tmp_path / "b" / "reports")
    assert {row["benchmark"] for row in found.rows} == {"demo"}
    assert any("benchmark only-b is only in folder" in note for note in found.notes)
    small.write_benchmark(tmp_path / "c", "c", {"baseline": small.answers([])})
    with pytest.raises(UserError, match="no benchmark in common"):
        differ(tmp_path / "a" / "reports", tmp_path / "c" / "reports")


def test_what_is_nothing_to_compare_is_told(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    good = write(tmp_path, FEW)
    for name, message in {
        "empty": "holds no results; expected network.json",
        "nix": "'nix' is nothing to compare; expected a report folder",
        "runs:/short": "is nothing to compare",
        "0" * 32: f"no MLflow run {'0' * 32}: there is no store",
    }.items():
        with pytest.raises(UserError, match=message):
            differ(name, good, tmp_path)
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("damage", [b"", b"no array", None])
def test_torn_files_are_named(tmp_path, damage) -> None:
    good, bad = write(tmp_path / "a", FEW), write(tmp_path / "b", FEW)
    path = tmp_path / "b" / "artifacts" / "demo" / "predictions.npy"
    path.write_bytes(path.read_bytes()[:-7] if damage is None else damage)
    with pytest.raises(UserError, match="the predictions of benchmark demo can't be read"):
        differ(good, bad)
    np.save(path, np.zeros((2, 3), np.uint8))
    with pytest.raises(UserError, match=r"are uint8 \(2, 3\); expected uint8 \(2, 100\)"):
        differ(good, bad)
    (tmp_path / "b" / "reports" / "demo" / "compare.json").write_text("[]")
    with pytest.raises(UserError, match="compare.json of benchmark demo is not valid JSON"):
        differ(good, bad)
    for content, words in {"": "is not valid JSON", "{}": "holds nothing"}.items():
        (tmp_path / "b" / "reports" / "demo" / "compare.json").write_text(content)
        for sides in ((good, bad), (bad, good)):
            with pytest.raises(UserError, match=f"compare.json of benchmark demo {words}"):
                differ(*sides)
    (tmp_path / "b" / "reports" / "demo" / "compare.json").write_text("5")
    with pytest.raises(UserError, match="compare.json of benchmark demo is not valid JSON"):
        differ(good, bad)


def test_results_that_are_gone_before_or_after_pass_no_gate(tmp_path) -> None:
    whole, gone = write(tmp_path / "a", FEW), write(tmp_path / "b", FEW)
    (tmp_path / "b" / "reports" / "demo" / "network.json").unlink()
    for sides in ((gone, whole), (whole, gone)):
        with pytest.raises(UserError, match=r"b/reports/demo holds no results; expected network.json in it"):
            differ(*sides)


def test_a_folder_of_reports_counts_references_of_what_did_not_run(tmp_path) -> None:
    for name, wrong in (("a", FEW), ("b", MANY)):
        here = Path(write(tmp_path / name, wrong))
        for kept in ("other", "demo"):
            shutil.copytree(here, here.parent / "reference" / kept)
    (tmp_path / "b" / "reports" / "reference" / "demo" / "network.json").write_text("of an earlier run; must not count")
    found = differ(tmp_path / "a" / "reports", tmp_path / "b" / "reports")
    assert {row["benchmark"] for row in found.rows} == {"demo", "other"}


def test_the_forms_say_the_same(tmp_path) -> None:
    found = differ(write(tmp_path / "a", FEW), write(tmp_path / "b", MANY))
    read = json.loads(found.text("json"))
    assert read["regression"] is True
    assert read["differences"][0]["p"] == found.rows[0]["p"]
    assert read["differences"][1]["test"] is None
    for form in ("table", "md"):
        assert "an accuracy got worse by more than luck explains" in found.text(form)
        assert f"{found.rows[0]['difference']:+.5f}" in found.text(form)


def test_recalls_of_any_classes_have_intervals(tmp_path) -> None:
    for name, wrong in (("a", FEW), ("b", MANY)):
        reports = Path(write(tmp_path / name, wrong))
        classes = ["slightly bored", *small.BASIC[1:]]
        card = tmp_path / name / "data" / "demo" / "dataset.json"
        card.write_text(json.dumps({"classes": classes}))
        measured = json.loads((reports / "network.json").read_text())
        labels = small.index()["label"].to_numpy()[5 + small.VAL : -small.REMOVED]
        right = small.answers(wrong)[small.VAL : -small.REMOVED] == labels
        measured["test"]["recall_slightly bored"] = right[labels == 0].mean()
        (reports / "network.json").write_text(json.dumps(measured))
    found = differ(tmp_path / "a" / "reports", tmp_path / "b" / "reports", patterns=["*recall*"])
    [row] = found.rows
    assert (row["metric"], row["test"]) == ("baseline_test_recall_slightly bored", "paired")
    assert row["low"] <= row["difference"] <= row["high"] <= 0


def test_results_of_earlier_versions_are_read_by_their_names(tmp_path) -> None:
    before, after = Path(write(tmp_path / "a", FEW)), Path(write(tmp_path / "b", MANY))
    (before / "network.json").rename(before / "baseline.json")
    known = {"emotions": {"wpmi": {"own_class": 6, "units": 7}}}
    (before / "proof.json").write_text(json.dumps({"lin3": known, "trained": {"lin2": {"described": 0.7}}}))
    known["emotions"]["wpmi"]["own_class"] = 5
    answer = {"output_layer": {"layer": "lin3", "concept_sets": known}, "trained": {"lin2": {"described": 0.6}}}
    (after / "held_out.json").write_text(json.dumps(answer))
    for one, other, sign in ((before, after, -1), (after.parent, before.parent, 1)):
        moved = {row["metric"]: row["difference"] for row in differ(one, other).rows}
        assert moved["held_out_output_layer_concept_sets_emotions_wpmi_own_class"] == sign
        assert moved["held_out_trained_lin2_described"] == pytest.approx(sign * 0.1)
        assert moved["baseline_test_accuracy"] == pytest.approx(sign * 15 / 68)
    (before / "proof.json").write_text("{")
    with pytest.raises(UserError, match="^proof.json of benchmark demo is not valid JSON"):
        differ(before, after)


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path) -> Path:
    """Two commits of reports, with dvc.lock and the predictions of both in DVC's cache."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (root / ".gitignore").write_text("/artifacts\n/data\n")
    for wrong in (FEW, MANY):
        reports = Path(write(root, wrong))
        # The first commit is an earlier version's.
        if wrong is FEW:
            (reports / "network.json").rename(reports / "baseline.json")
        else:
            (reports / "baseline.json").unlink()
        outs = [_cached(root, path) for part in ("artifacts", "data") for path in sorted((root / part).rglob("*.*"))]
        (root / "dvc.lock").write_text(yaml.dump({"schema": "2.0", "stages": {"edit": {"cmd": "x", "outs": outs}}}))
        git(root, "add", "-A")
        git(root, "commit", "-q", "-m", "results")
    shutil.rmtree(root / "artifacts")
    return root


def _cached(root: Path, path: Path) -> dict[str, str]:
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    target = root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)
    return {"path": path.relative_to(root).as_posix(), "hash": "md5", "md5": md5}


def test_git_revisions_find_their_predictions_in_the_cache(repository) -> None:
    found = differ("HEAD~1", "HEAD", repository)
    row = found.rows[0]
    assert (row["metric"], row["test"]) == ("baseline_test_accuracy", "paired")
    assert row["p"] == pytest.approx(exact(0, 15))
    assert found.regression
    assert re.fullmatch(r"git HEAD~1 \([0-9a-f]{7}\)", found.before)
    assert not differ("HEAD", "HEAD~1", repository).regression


def test_git_revisions_without_cache_or_dvc_have_counts(repository) -> None:
    why = "no artifacts/demo/predictions.npy of that result is at hand"
    shutil.rmtree(repository / ".dvc" / "cache")
    unpaired(differ("HEAD~1", "HEAD", repository), why)
    shutil.rmtree(repository / ".dvc")
    unpaired(differ("HEAD~1", "HEAD", repository), why)
    # A revision and a folder.
    assert differ("HEAD", "reports/demo", repository).rows == []
    git(repository, "rm", "-r", "-q", "reports")
    git(repository, "commit", "-q", "-m", "none")
    with pytest.raises(UserError, match=r"git revision HEAD has no reports/reference/<name>/network.json"):
        differ("HEAD~1", "HEAD", repository)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, empty_store):
    """A store with the run of a benchmark, its baseline's, an edit's and a dissection's, and the same without files."""
    root = tmp_path_factory.mktemp("tracked")
    (root / ".dvc").mkdir()
    results = Results(small_params(), write_results(root, small_params()))
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    place = client.create_experiment("small", artifact_location=str(root / "mlartifacts"))
    files = run_files(results, [results.baseline_id, results.paper_id])
    runs = {}
    for kind, stored in (("full", files), ("bare", {})):
        metrics = {
            f"{name}_test_accuracy": results.config(one)["accuracy"]
            for name, one in (("baseline", results.baseline_id), ("paper", results.paper_id))
        }
        runs[kind] = parent = _run(client, place, {"kind": "benchmark"}, metrics, {}, stored)
        for name in (results.baseline_id, results.paper_id):
            matrix = {"classes": [], "test": results.confusion(name).tolist()}
            tags = {"kind": "baseline" if name == results.baseline_id else "edit", PARENT: parent}
            metrics = {"test_accuracy": results.config(name)["accuracy"], "n_up": 9}
            confusion = {"confusion.json": json.dumps(matrix).encode()}
            runs[f"{kind} {tags['kind']}"] = _run(client, place, tags, metrics, {"config_id": name}, confusion)
        tags = {"kind": "dissection", PARENT: parent}
        runs[f"{kind} dissection"] = _run(client, place, tags, {"lift": 1.0 + (kind == "bare")}, {}, {})
    return root, results, runs


def _run(client, place, tags, metrics, params, files) -> str:
    run = client.create_run(place, tags=tags, run_name=tags["kind"])
    entities = [Metric(name, value, 0, 0) for name, value in metrics.items()]
    client.log_batch(run.info.run_id, entities, [Param(name, value) for name, value in params.items()])
    folder = Path(run.info.artifact_uri)
    for name, content in files.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return run.info.run_id


def right_of(results, config_id: str) -> np.ndarray:
    at = np.isin(results.image_rows, results.imageset.evaluation_rows()["test"])
    preds = results.predictions[results.config_ids.index(config_id)]
    return (preds == results.imageset.labels[results.image_rows])[at]


def test_runs_of_one_benchmark_are_compared_by_its_predictions(tracked) -> None:
    root, results, runs = tracked
    found = differ(runs["full baseline"], f"runs:/{runs['full edit']}", root)
    before, after = right_of(results, results.baseline_id), right_of(results, results.paper_id)
    row = found.rows[0]
    assert (row["benchmark"], row["metric"], row["test"]) == ("small", "test_accuracy", "paired")
    assert row["p"] == pytest.approx(exact((after & ~before).sum(), (before & ~after).sum()))
    assert row["difference"] == pytest.approx(after.mean() - before.mean())
    assert f"small: the network was {results.baseline_id}, is {results.paper_id}" in found.notes


def test_runs_without_predictions_are_compared_by_their_confusion_matrices(tracked) -> None:
    root, results, runs = tracked
    before, after = right_of(results, results.baseline_id), right_of(results, results.paper_id)
    found = differ(runs["bare baseline"], runs["bare edit"], root)
    assert found.rows[0]["test"] == "unpaired"
    assert found.rows[0]["p"] == pytest.approx(pooled((before.sum(), after.sum()), len(before)))
    assert (
        "tested as independent proportions: the run of the benchmark has no artifact predictions.npy" in found.notes[-1]
    )


def test_runs_of_benchmarks_and_of_dissections(tracked) -> None:
    root, _, runs = tracked
    same = differ(runs["full"], runs["bare"], root)
    assert (same.rows, same.compared) == ([], 2)
    found = differ(runs["full dissection"], runs["bare dissection"], root)
    assert [(row["metric"], row["difference"]) for row in found.rows] == [("lift", 1.0)]
    with pytest.raises(UserError, match="no metric in common"):
        differ(runs["full dissection"], runs["full"], root)
    with pytest.raises(UserError, match=f"MLflow run {'0' * 32} can't be read"):
        differ("0" * 32, runs["full"], root)


def test_a_benchmarks_run_and_its_reports_are_one_comparison(tracked, tmp_path) -> None:
    root, _, runs = tracked
    metrics = differ(runs["full"], write(tmp_path, FEW), root).rows
    assert [row["metric"] for row in metrics] == ["baseline_test_accuracy"]


def test_what_a_run_keeps_is_what_was_predicted(tracked) -> None:
    _, results, _ = tracked
    names = [results.paper_id, results.baseline_id]
    kept, named = answers.of_run(*run_files(results, names).values())
    assert named == {"baseline": results.baseline_id, "paper": results.paper_id}
    for name in names:
        for images, rows in results.imageset.evaluation_rows().items():
            preds, labels = kept.of(name, images)
            at = np.isin(results.image_rows, rows)
            assert preds.tolist() == results.predictions[results.config_ids.index(name)][at].tolist()
            assert labels.tolist() == results.imageset.labels[rows].tolist()
