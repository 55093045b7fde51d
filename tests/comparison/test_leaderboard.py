import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from reporting import small_reports as small

from emobench.comparison.leaderboard import leaderboard, text
from emobench.errors import UserError

REPORTS = Path(__file__).parents[2] / "reports" / "reference"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two benchmarks: a (baseline best, two edits judged, one of them twice) and b (made with data.limit)."""
    a = {"baseline": small.answers([]), "chosen": small.answers(range(10)), "paper": small.answers(range(5))}
    b = {"baseline": small.answers(range(5)), "chosen": small.answers(range(10))}
    first = small.write_benchmark(tmp_path, "a", a)
    twice = {"config_id": small.PAPER, "holm_p": 0.02, "verdict": "harms"}
    rows = [{"config_id": small.CHOSEN}, twice, twice | {"selected_on": "paper"}, twice | {"images": "val_test"}]
    small.write_verdicts(first, [row | {"detectable_points": 1.5} for row in rows])
    small.write_verdicts(small.write_benchmark(tmp_path, "b", b, limited=1), [{"config_id": small.CHOSEN}])
    return tmp_path / "reports"


def names(rows: list[dict]) -> list[tuple[str, str]]:
    return [(row["benchmark"], row["config_id"]) for row in rows]


def test_the_best_come_first_and_equal_ones_stay_in_order(folder) -> None:
    rows, columns = leaderboard(folder)
    expected = [("a", "baseline"), ("a", small.PAPER), ("b", "baseline"), ("a", small.CHOSEN), ("b", small.CHOSEN)]
    assert names(rows) == expected
    assert rows == leaderboard(folder)[0]
    paper = rows[1]
    assert paper["accuracy"] == pytest.approx(63 / 68, rel=1e-5)
    assert (paper["arm"], paper["tau"], paper["factor"], paper["holm_p"]) == ("similarity", 0.0, 1.5, 0.02)
    assert (paper["delta_points"], paper["low_points"], paper["high_points"]) == (1.0, -2.0, 3.0)
    assert (paper["verdict"], paper["selected_on"]) == ("harms", "val, paper")
    assert paper["detectable_points"] == 1.5
    assert rows[-1]["detectable_points"] is None  # of an earlier version
    assert rows[0]["verdict"] is rows[0]["layer"] is rows[0]["holm_p"] is None
    assert set(columns) <= set(paper)
    assert [row["limited"] for row in rows] == [False, False, True, False, True]


def test_what_was_chosen_by_folds_stands_beside_the_edits(folder) -> None:
    row = {"config_id": "cross_fitted", "arm": "cross_fitted", "selected_on": "cross_fitted", "images": "val_test_kept"}
    small.write_verdicts(folder / "b", [{"config_id": small.CHOSEN}, row | {"accuracy": 0.99, "verdict": "improves"}])
    first = leaderboard(folder, ["b"])[0][0]
    assert (first["benchmark"], first["config_id"], first["accuracy"]) == ("b", "cross_fitted", 0.99)
    assert (first["verdict"], first["selected_on"]) == ("improves", "cross_fitted")
    assert ("b", "cross_fitted") not in names(leaderboard(folder, images="val_test")[0])


def test_of_losses_the_lowest_is_best_and_what_is_missing_is_last(folder) -> None:
    rows, columns = leaderboard(folder, ["a"], sort="nll")
    assert names(rows) == [("a", "baseline"), ("a", small.PAPER), ("a", small.CHOSEN)]
    assert columns[columns.index("accuracy") + 1] == "nll"
    table = pd.read_csv(folder / "a" / "configs.csv")
    table.loc[(table.config_id == small.PAPER) & (table.images == "test"), "recall_sad"] = float("nan")
    table.to_csv(folder / "a" / "configs.csv", index=False)
    assert names(leaderboard(folder, ["a"], sort="recall_sad")[0])[-1] == ("a", small.PAPER)


def test_named_benchmarks_and_the_top_alone(folder) -> None:
    assert names(leaderboard(folder, ["b"], top=1)[0]) == [("b", "baseline")]
    assert {row["benchmark"] for row in leaderboard(folder, ["b", "a", "b"])[0]} == {"a", "b"}
    assert len(leaderboard(folder, ["b", "b"])[0]) == 2


def test_where_nothing_is_tested_there_is_no_verdict(folder) -> None:
    rows, _ = leaderboard(folder, ["a"], images="val")
    assert len(rows) == 3
    assert {row["verdict"] for row in rows} == {None}
    tested = {row["config_id"]: row["verdict"] for row in leaderboard(folder, ["a"], images="val_test")[0]}
    assert tested == {"baseline": None, small.CHOSEN: None, small.PAPER: "harms"}


def test_controls_and_edits_without_a_verdict_are_no_entries(folder) -> None:
    table = pd.read_csv(folder / "a" / "configs.csv")
    judged = table[table.config_id == small.CHOSEN]
    control = judged.assign(config_id="control-1", control_of=small.CHOSEN, accuracy=1.0)
    pd.concat([table, control, judged.assign(config_id="unjudged", accuracy=1.0)]).to_csv(
        folder / "a" / "configs.csv", index=False
    )
    small.write_verdicts(folder / "a", [{"config_id": small.CHOSEN}, {"config_id": "control-1"}])
    assert {name for _, name in names(leaderboard(folder, ["a"])[0])} == {"baseline", small.CHOSEN}


def test_a_benchmark_without_verdicts_has_its_baseline(folder) -> None:
    (folder / "a" / "verdicts.csv").unlink()
    assert names(leaderboard(folder, ["a"])[0]) == [("a", "baseline")]


def test_unknown_names_list_the_known_ones(folder, tmp_path) -> None:
    with pytest.raises(UserError, match="unknown benchmark 'c'; known: a, b"):
        leaderboard(folder, ["c"])
    with pytest.raises(UserError, match="unknown metric to sort by 'tau'; known: accuracy, nll, recall_angry"):
        leaderboard(folder, sort="tau")
    with pytest.raises(UserError, match="unknown image set 'train'; known: val, test, test_noleaks, val_test"):
        leaderboard(folder, images="train")
    with pytest.raises(UserError, match="no benchmark with results below"):
        leaderboard(tmp_path / "elsewhere")


def test_torn_files_are_named(folder) -> None:
    (folder / "b" / "compare.json").write_text("{")
    with pytest.raises(UserError, match=r"b/compare.json is not valid JSON"):
        leaderboard(folder)
    whole = (folder / "a" / "configs.csv").read_text()
    for torn in ("", whole[: len(whole) // 2]):
        (folder / "a" / "configs.csv").write_text(torn)
        with pytest.raises(UserError, match=r"a/configs.csv is empty or cut short"):
            leaderboard(folder, ["a"])


def test_the_forms_say_the_same(folder) -> None:
    rows, columns = leaderboard(folder)
    assert json.loads(text(rows, columns, "json")) == [{name: row[name] for name in columns} for row in rows]
    read = list(csv.DictReader(io.StringIO(text(rows, columns, "csv"))))
    assert [float(row["accuracy"]) for row in read] == [row["accuracy"] for row in rows]
    shown = text(rows, columns, "md").splitlines()
    assert len(shown) == 2 + len(rows)
    assert "b (limited)" in shown[4]
    assert all(part in shown[3] for part in ("92.65%", "+1.00", "-2.00 to +3.00", "1.50", "harms", "val, paper"))


def test_the_committed_reports_show_every_edit_that_was_tested_on_test() -> None:
    rows, _ = leaderboard(REPORTS)
    for folder in (path.parent for path in REPORTS.glob("*/configs.csv")):
        tested = pd.read_csv(folder / "verdicts.csv").query("images == 'test'")
        accuracy = pd.read_csv(folder / "configs.csv").query("images == 'test'").set_index("config_id")["accuracy"]
        shown = {row["config_id"]: row["accuracy"] for row in rows if row["benchmark"] == folder.name}
        # Chosen and judged by folds: no configuration, but shown with the others.
        assert shown.keys() - {"cross_fitted"} == {"baseline", *tested["config_id"]}
        assert all(shown[name] == accuracy[name] for name in ["baseline", *tested["config_id"]])
    assert [row["accuracy"] for row in rows] == sorted((row["accuracy"] for row in rows), reverse=True)


def test_it_needs_neither_torch_nor_pandas() -> None:
    code = "import sys, emobench.comparison.leaderboard; print({'torch', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_what_was_judged_by_folds_is_marked(folder) -> None:
    rows, columns = leaderboard(folder)
    folded = dict(rows[0], edit="cross_fitted", selected_on="cross_fitted", benchmark="a")
    shown = text([*rows, folded], columns, "table")
    assert "cross_fitted +" in shown
    assert shown.endswith(
        "* the paper's own edit\n+ of val and test together, by folds: not held against the baseline of test"
    )
    assert max(map(len, shown.splitlines())) <= 80
    assert r"cross\_fitted +" in text([*rows, folded], columns, "latex")


def test_a_heading_a_benchmark_and_no_line_beyond_80_columns(folder) -> None:
    shown = text(*leaderboard(folder), "table")
    parts = shown.split("\n\n")
    assert [part.splitlines()[0].split(":")[0] for part in parts[:-1]] == ["a", "b (data.limit"]
    assert parts[-1] == "* the paper's own edit"
    assert "similarity tau 0 x1.5 *" in parts[0]
    assert "+1.00 [-2.00, +3.00]" in parts[0]
    assert "lin2" in parts[0].splitlines()[0]
    assert max(map(len, shown.splitlines())) <= 80
    assert max(map(len, text(*leaderboard(folder, sort="nll"), "table").splitlines())) <= 80
    assert parts[0].splitlines()[1].split() == ["edit", "accuracy", "points", "p,", "Holm", "verdict"]


@pytest.mark.parametrize("reports", [REPORTS, REPORTS / "reference"])
def test_the_committed_reports_fit_too(reports) -> None:
    if not list(reports.glob("*/configs.csv")):
        pytest.skip("kept elsewhere")
    shown = text(*leaderboard(reports), "table")
    assert max(map(len, shown.splitlines())) <= 80


def test_latex_is_one_table_of_booktabs(folder) -> None:
    lines = text(*leaderboard(folder), "latex").splitlines()
    assert lines[0] == r"\begin{tabular}{lllrrrl}"
    assert lines[1:4:2] == [r"\toprule", r"\midrule"]
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    assert len([line for line in lines if line.endswith(r"\\")]) == 1 + 5
    paper = next(line for line in lines if "similarity tau 0 x1.5 *" in line)
    assert [cell.strip() for cell in paper.removesuffix(r"\\").split("&")][3:5] == [r"92.65\%", "+1.00 [-2.00, +3.00]"]
