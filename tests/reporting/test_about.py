import re
import subprocess

import pytest

from emobench.reporting import about
from emobench.reporting.results import Results


@pytest.fixture(scope="module")
def results(real) -> Results:
    return Results(*real)


def test_method_tells_of_the_run_at_hand(results):
    told = " ".join(about.method(results))
    judged = results.verdicts.query("images == 'test'")["config_id"].nunique()
    assert f"{len(results.layer_names)} layers of vggnet" in told
    assert f"{judged} edits, an exact McNemar test each" in told
    assert f"up to {results.params.edit.controls.draws} random controls" in told


def test_provenance_names_machine_seed_and_versions(results, monkeypatch):
    row = {"stage": "edit", "cpu": "Some CPU", "cores": 2}
    monkeypatch.setattr(about.costs, "latest", lambda layout: [row, row | {"cpu": ""}])
    told = dict(about.provenance(results).rows)
    assert told["machine"] == "Some CPU, 2 cores"
    assert told["seed"] == str(results.params.seed)
    assert "torch " in told["versions"]
    assert "(network)" in told["precision of training"]


def test_the_commit_is_the_repositorys_or_none(tmp_path):
    assert about.commit(tmp_path) == ""
    run = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*run, "init", "-q"], check=True)
    subprocess.run([*run, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    found = about.commit(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{12} of \d{4}-\d\d-\d\d", found)
