import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from reporting import small_reports as small

from emobench.comparison.against_reference import differences
from emobench.errors import UserError

TABLE = {"layer": "lin2", "concept_set": "expressions", "similarity_fn": "wpmi"}


@pytest.fixture
def root(tmp_path) -> Path:
    """A run and the reference made of it, the same to the byte."""
    preds = {"baseline": small.answers(range(5)), "chosen": small.answers(range(3)), "paper": small.answers(range(4))}
    reports = small.write_benchmark(tmp_path, "demo", preds)
    small.write_verdicts(reports, [{"config_id": small.CHOSEN}, {"config_id": small.PAPER, "selected_on": "paper"}])
    pd.DataFrame([TABLE | {"num_units": 100, "num_significant": 50}]).to_csv(reports / "layers.csv", index=False)
    (reports / "audit.json").write_text(json.dumps({"images": 105}))
    (tmp_path / "params.yaml").write_text("name: demo\nedit: {paper: {tau: 0.0}}\n")
    shutil.copytree(reports, tmp_path / "reports" / "reference" / "demo")
    shutil.copy(tmp_path / "params.yaml", tmp_path / "reports" / "reference" / "demo")
    return tmp_path


def change(root: Path, table: str, column: str, value: object) -> None:
    path = root / "reports" / "demo" / f"{table}.csv"
    frame = pd.read_csv(path)
    frame.loc[0, column] = value
    frame.to_csv(path, index=False)


def found(root: Path, **options) -> dict[str, bool]:
    """What differs, and whether it matters."""
    return {row.what: row.matters for row in differences("demo", root, **options).rows}


def test_the_same_differs_in_nothing(root) -> None:
    same = differences("demo", root)
    assert (same.rows, same.matters, same.digits) == ([], False, 0)
    assert same.compared > 20
    assert same.verdicts == 2
    assert "nothing that matters differs" in same.text("table")


def test_digits_do_not_matter(root) -> None:
    path = root / "reports" / "demo" / "clip.json"
    path.write_text(json.dumps({"mean_auroc": 0.91, "limited": 0}))
    moved = differences("demo", root)
    assert (moved.rows, moved.matters, moved.digits) == ([], False, 1)


def test_settings_counts_and_verdicts_matter(root) -> None:
    (root / "params.yaml").write_text("name: demo\nedit: {paper: {tau: 0.5}}\n")
    (root / "reports" / "demo" / "audit.json").write_text(json.dumps({"images": 104}))
    change(root, "verdicts", "verdict", "improves")
    assert found(root) == dict.fromkeys(
        ["params: edit.paper.tau", "audit_images", "verdicts of x on test (chosen on val)"], True
    )
    told = differences("demo", root).text("table")
    assert "something that matters differs" in told
    assert "1 improves" in told


def test_another_benchmark_in_params_says_nothing_of_this_one(root) -> None:
    (root / "params.yaml").write_text("name: other\n")
    assert found(root) == {}


@pytest.mark.parametrize(("count", "matters"), [(52, False), (80, True)])
def test_shares_of_units_matter_beyond_luck(root, count, matters) -> None:
    change(root, "layers", "num_significant", count)
    assert found(root) == {"significant units of lin2 expressions wpmi": matters}


def test_other_units_and_other_dissections_matter(root) -> None:
    change(root, "layers", "num_units", 99)
    assert found(root) == {"units of lin2 expressions wpmi": True}
    change(root, "layers", "layer", "lin1")
    assert found(root) == {"dissection lin1 expressions wpmi": True, "dissection lin2 expressions wpmi": True}


@pytest.mark.parametrize(("wrong", "matters"), [(7, False), (40, True)])
def test_accuracies_matter_beyond_luck(root, wrong, matters) -> None:
    shutil.rmtree(root / "reports" / "demo")
    preds = {"baseline": small.answers(range(wrong)), "chosen": small.answers(range(3)),
             "paper": small.answers(range(4))}  # fmt: skip
    small.write_benchmark(root, "demo", preds)
    for name in ("audit.json", "layers.csv", "verdicts.csv"):
        shutil.copy(root / "reports" / "reference" / "demo" / name, root / "reports" / "demo")
    assert found(root)["baseline_test_accuracy"] is matters
    assert json.loads(differences("demo", root).text("json"))[0]["matters"] is matters


def test_what_is_missing_is_named(root) -> None:
    with pytest.raises(UserError, match=r"other has no reference in .*; known: demo"):
        differences("other", root)
    (root / "reports" / "demo" / "layers.csv").unlink()
    with pytest.raises(UserError, match=r"layers\.csv can't be read \(FileNotFoundError\); run dvc repro report"):
        differences("demo", root)
