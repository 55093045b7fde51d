"""Studies over reports that are written by hand: what is read, what is pooled, and what is said of the claim."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from emobench import cli, contracts
from emobench.comparison.claim import TIERS, as_if_independent, pool, tier, told
from emobench.comparison.members import read_member, report_folder
from emobench.comparison.study import Asked, Study, load_study, run_study
from emobench.errors import UserError
from emobench.functional.combining import largest_covariance

ASKED = {"arm": "similarity", "selected_on": "paper", "image_set": "test"}
STUDIES = Path(__file__).parents[2] / "studies"


def write_report(reports, name, gains, losses, *, images=1000, p=1.0, verdict="no evidence", data="faces") -> None:
    folder = reports / name
    folder.mkdir(parents=True)
    delta = (gains - losses) / images
    row = {"config_id": "edited", "arm": "similarity", "selected_on": "paper", "images": "test", "gains": gains}
    row |= {"losses": losses, "mcnemar_p": p, "verdict": verdict, "delta_accuracy": delta}
    row |= {"ci_low_accuracy": delta - 0.01, "ci_high_accuracy": delta + 0.01}
    pd.DataFrame([row]).to_csv(folder / "verdicts.csv", index=False)
    (folder / "network.json").write_text(json.dumps({"test": {"images": images}}))
    (folder / "audit.json").write_text(json.dumps({"data": data}))


def study_of(*benchmarks, margin=0.5) -> Study:
    asked = Asked(arm="similarity", selected_on="paper")
    return Study(
        name="mine", question="Does it help?", benchmarks=list(benchmarks), edit=asked, images="test", margin=margin,
        confidence=0.95,
    )  # fmt: skip


@pytest.fixture
def reports(tmp_path):
    """Two networks on the same faces, one on others."""
    folder = tmp_path / "reports"
    write_report(folder, "one", 20, 30)
    write_report(folder / "reference", "two", 40, 35)
    write_report(folder, "three", 10, 20, data="other faces")
    return folder


def members(reports, *names):
    return [read_member(report_folder(reports, name), **ASKED) for name in names]


def test_every_tier_has_its_rule() -> None:
    assert tier(["improves", "improves"], 2, None, 0.5) == "confirmed in all"
    assert tier(["improves", "improves"], 3, None, 0.5) == "confirmed in some"  # one of them is not there
    assert tier(["no evidence", "improves"], 2, -1.0, 0.5) == "confirmed in some"
    assert tier(["harms", "no evidence"], 2, 0.49, 0.5) == "rejected"
    assert tier(["no evidence"], 1, 0.5, 0.5) == tier(["harms"], 1, None, 0.5) == "open"
    assert list(TIERS) == ["confirmed in all", "confirmed in some", "rejected", "open"]


def test_a_verdict_counts_if_it_holds_over_all_benchmarks_of_the_study(tmp_path) -> None:
    for name, p, verdict in (("a", 0.001, "improves"), ("b", 0.03, "improves"), ("c", 0.002, "harms")):
        write_report(tmp_path / "reports", name, 9, 1, p=p, verdict=verdict)
    for name, p in (("d", 1.0), ("e", 0.001)):
        write_report(tmp_path / "reports", name, 9, 1, p=p)
    said, p_values = zip(*told(members(tmp_path / "reports", *"abcde")), strict=True)
    assert said == ("improves", "no evidence", "harms", "no evidence", "no evidence")
    assert p_values == pytest.approx((0.005, 0.06, 0.006, 1, 0.005))


def test_the_same_images_widen_the_interval(reports) -> None:
    shared = pool("all", members(reports, "one", "two"), 0.95)
    apart = pool("all", members(reports, "one", "three"), 0.95)
    assert (shared.bounded, shared.measured, apart.bounded) == (1, 0, 0)
    mean, low, high = as_if_independent(members(reports, "one", "two"), 0.95)
    assert shared.found.high - shared.found.low > high - low
    assert shared.found.mean == pytest.approx(mean, abs=2e-3)
    bound = largest_covariance((20, 30), (40, 35), 1000)
    assert bound == pytest.approx((20 + 30 - (-10 * 5) / 1000) / 1000**2)
    assert (apart.found.low, apart.found.high) == pytest.approx(
        as_if_independent(members(reports, "one", "three"), 0.95)[1:]
    )


def test_an_edit_that_changes_no_answer_is_not_pooled(reports) -> None:
    write_report(reports, "still", 0, 0)
    found = pool("all", members(reports, "one", "still"), 0.95)
    assert (found.found, [member.name for member in found.members]) == (None, ["one"])


def test_answers_at_hand_measure_the_covariance(reports, monkeypatch) -> None:
    one, two = members(reports, "one", "two")
    gained = np.zeros((2, 1000), int)
    gained[0, :20], gained[0, 20:50], gained[1, 100:140], gained[1, 140:175] = 1, -1, 1, -1
    monkeypatch.setattr(type(one), "outcomes_with", lambda self, other: tuple(gained))
    found = pool("all", [one, two], 0.95)
    assert (found.bounded, found.measured) == (0, 1)
    _, low, high = as_if_independent([one, two], 0.95)
    assert found.found.high - found.found.low == pytest.approx(high - low, rel=0.01)


def test_a_study_writes_its_contract_first_and_the_same_files_again(reports, monkeypatch) -> None:
    study, folder = study_of("one", "two", "three", "four"), reports / "study" / "mine"
    answer = run_study(study, reports)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(before) == ["README.md", "benchmarks.csv", "claim.json", "contract.json", "forest.svg", "pooled.csv"]
    assert answer.claim["missing"] == {"four": "not run yet"}
    assert answer.claim["signs"] == {"up": 1, "down": 2, "even": 0}
    assert [row["images_of"] for row in answer.benchmarks] == ["one", "one", "three"]
    assert [row["scope"] for row in answer.pools] == ["all", "all, as if independent"]
    assert sum(row["weight"] for row in answer.benchmarks) == pytest.approx(1)
    assert "2 on the images of one" in " ".join(answer.lines)
    write_report(reports, "five", 5, 6)
    assert run_study(study_of("one", "two", "five"), reports).pools[0]["scope"] == "images of one"
    shutil.rmtree(folder)
    run_study(study, reports)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    later = run_study(study_of("one", "two", "three", margin=1.0), reports)
    assert "2 contracts have read it, different in study.benchmarks, study.margin" in later.claim["contract"]
    monkeypatch.setattr("emobench.comparison.study._members", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_study(study_of("one", margin=2.0), reports)
    assert len(contracts.known(folder)) == 3


def test_from_the_command_line(reports, monkeypatch) -> None:
    monkeypatch.chdir(reports.parent)
    values = yaml.safe_load((STUDIES / "paper_edit.yaml").read_text()) | {"benchmarks": ["one", "two"]}
    Path("mine.yaml").write_text(yaml.safe_dump(values))
    done = CliRunner().invoke(cli.main, ["study", "mine.yaml", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["tier"] in TIERS
    Path("mine.yaml").write_text(yaml.safe_dump(values | {"margin": -1}))
    done = CliRunner().invoke(cli.main, ["study", "mine.yaml"])
    assert (done.exit_code, "mine.yaml: margin" in done.output) == (1, True)


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_studies_that_come_along_are_of_their_form(path) -> None:
    assert load_study(path).name == path.stem


def test_what_can_not_answer(reports, tmp_path) -> None:
    with pytest.raises(UserError, match="can't be read as YAML"):
        load_study(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="none of its benchmarks.*nine: not run yet"):
        run_study(study_of("nine"), reports)
    other = Study(**{**vars(study_of("one")), "edit": Asked(arm="fdr", selected_on="val")})
    with pytest.raises(UserError, match="no edit of arm fdr was judged"):
        run_study(other, reports)
    (reports / "one" / "verdicts.csv").write_text("arm,selected_on\nsimilarity,paper\n")
    with pytest.raises(UserError, match="one: its report can't be read"):
        run_study(study_of("one"), reports)
