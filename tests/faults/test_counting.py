"""A campaign's log and its counts: what was good is not tried again, what was not is counted as such."""

import csv
from dataclasses import replace

from faults import counting
from faults.counting import LINE, OTHER, SAME, Fault, Log, Outcome, counts, write_report

FILE = Fault("file", "tiny", "edit", ("data/tiny/index.parquet", "torn"), 3)
KILL = Fault("kill", "tiny", "clip", (0.25,), 4)
FOUND = [
    Outcome(FILE, LINE, "emobench: data/tiny/index.parquet can't be read", "abc", 1.5),
    Outcome(KILL, SAME, "", "abc", 58.5),
    Outcome(replace(FILE, seed=5), OTHER, "artifacts/tiny/units.parquet and 0 more", "def", 60.0),
    Outcome(replace(KILL, seed=6), "killed by signal 7", "", "def", 0.0),
]


def test_a_campaign_goes_on_and_tries_again_what_came_out_badly(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    for one in FOUND:
        assert log.good(one.fault) is None
        log.add(one)
    again = Log(tmp_path / "log.jsonl")
    assert [again.good(one.fault) for one in FOUND] == [*FOUND[:2], None, None]
    again.add(mended := replace(FOUND[2], word=LINE, revision="ghi"))
    assert Log(tmp_path / "log.jsonl").good(mended.fault) == mended
    assert Log(None).good(FILE) is None


def test_nothing_is_left_out_of_the_counts(tmp_path, monkeypatch):
    rows = counts(FOUND)
    assert [(row["kind"], row["faults"], row[OTHER], row["anything else"]) for row in rows] == [
        ("files, parquet", 2, 1, 0), ("kills", 2, 0, 1),
    ]  # fmt: skip
    (tmp_path / "faults").mkdir()
    page, before = tmp_path / "faults.md", tmp_path / "faults" / "before.csv"
    before.write_text("kind,faults,same results,one clear line\nmalformed inputs,567,,277\n")
    page.write_text(f"Above\n{counting.BEGIN}\nstale\n{counting.END} -->\nbelow\n")
    monkeypatch.setattr(counting, "BEFORE", before)
    monkeypatch.setattr(counting, "PAGE", page)
    write_report(tmp_path / "faults", FOUND, "campaign.py --seed 1")
    with open(tmp_path / "faults" / "campaign.csv") as file:
        assert [int(row["faults"]) for row in csv.DictReader(file)] == [2, 2]
    text = page.read_text()
    assert (text.startswith("Above\n"), text.endswith("-->\nbelow\n"), "stale" in text) == (True, True, False)
    assert "| all | 567 |  | 277 |" in text
    assert "revision abc (2 faults), def (2 faults), by `campaign.py --seed 1`" in text
    assert "2 processor minutes" in text
    assert "| all | 4 | 1 | 1 | 0 | 0 | 1 | 1 |" in text
