"""Which concepts a network gained or lost, counted by hand."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.stats import hypergeom

from emobench import cli
from emobench.comparison.units import changes, units_of
from emobench.errors import UserError
from emobench.files import write_parquet
from emobench.functional.paired import holm


def table(smiles: int, frowns: int, size: int = 100, layers: tuple[str, ...] = ("lin1", "lin2")) -> pd.DataFrame:
    """So many significant units of each concept in every layer, the others not significant."""
    parts = []
    for layer in layers:
        named = ["smile"] * smiles + ["frown"] * frowns + ["hat"] * (size - smiles - frowns)
        told = np.arange(size) < smiles + frowns
        parts.append(pd.DataFrame({"layer": layer, "unit": range(size), "description": named, "significant": told}))
    units = pd.concat(parts, ignore_index=True)
    return units.assign(concept_set="mine", similarity_fn="soft_wpmi", similarity=0.5, top_images=[[0, 1]] * len(units))


def fisher(a: int, b: int, size: int) -> float:
    """Two-sided, from the formula: the probability of all tables that are no likelier than this one."""
    chances = hypergeom(2 * size, a + b, size).pmf(np.arange(a + b + 1))
    return chances[chances <= chances[a] * (1 + 1e-7)].sum()


def test_gained_and_lost_are_told_by_a_test_of_the_shares() -> None:
    found = changes(table(10, 30), table(50, 28))
    rows = found.table.set_index("concept")
    assert (found.units, found.concept_set, found.similarity_fn) == ((200, 200), "mine", "soft_wpmi")
    assert list(rows.index) == ["smile", "frown"]  # what is not significant is no concept of a unit
    assert rows.loc["smile", ["units_a", "share_a", "units_b", "change_points"]].tolist() == [20, 0.1, 100, 40.0]
    p = [fisher(20, 100, 200), fisher(60, 56, 200)]
    assert rows["p"].tolist() == pytest.approx(p)
    assert rows["holm_p"].tolist() == pytest.approx(holm(p))
    assert rows["status"].tolist() == ["gained", "alike"]
    assert changes(table(50, 28), table(10, 30)).table["status"].tolist() == ["lost", "alike"]
    assert changes(table(10, 30), table(50, 28), layers=["lin2"]).units == (100, 100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["lin22"]}, "unknown layer 'lin22'; known: lin1, lin2; did you mean lin2"),
        ({"concepts": "moods"}, "unknown concept_set of both networks 'moods'; known: mine"),
        ({"function": "wpmi"}, "unknown similarity_fn of both networks 'wpmi'; known: soft_wpmi"),
    ],
)
def test_unknown_names_are_told(options, message) -> None:
    with pytest.raises(UserError, match=message):
        changes(table(1, 1), table(1, 1), **options)


def test_nothing_in_common_is_told() -> None:
    with pytest.raises(UserError, match="no concept_set in common; dissect both by the same"):
        changes(table(1, 1), table(1, 1).assign(concept_set="other"))


def test_the_command(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, units in {"before": table(10, 30), "after": table(50, 28)}.items():
        write_parquet(tmp_path / "artifacts" / name / "units.parquet", units)

    def call(*words: str):
        return CliRunner().invoke(cli.main, ["units", *words])

    shown = call("before", "after").output
    assert "A: before, 200 units; B: after, 200 units" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "smile      20 (10.0%)" in " ".join(shown.split("\n")).replace("  ", "  ")
    rows = json.loads(call("before", "artifacts/after/units.parquet", "--format", "json", "--top", "1").output)
    assert [row["concept"] for row in rows] == ["smile"]
    assert len(list(csv.DictReader(io.StringIO(call("before", "after", "--format", "csv").output)))) == 2
    missing = call("befor", "after")
    assert missing.exit_code == 1
    assert "unknown dissected benchmark 'befor'; known: after, before; did you mean before?" in missing.stderr
    shutil.copy("artifacts/after/units.parquet", "copy of it.parquet")
    assert units_of("copy of it.parquet", Path()).equals(units_of("after", Path()))
    table(1, 1).drop(columns="description").to_parquet("other.parquet")
    with pytest.raises(UserError, match="other.parquet is not as it should be .*lacks the columns description"):
        units_of("other.parquet", Path())
