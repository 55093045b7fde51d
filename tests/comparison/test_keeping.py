import dataclasses
import json
from pathlib import Path

import pytest
import yaml

import emobench
from emobench.comparison import keeping
from emobench.errors import UserError
from emobench.files import file_digest
from emobench.params import Params, load_params

ROOT = Path(__file__).parents[2]
LOCK = {"stages": {"prepare": {"params": {"params.yaml": {"name": "demo"}}}}}


@pytest.fixture
def params() -> Params:
    return load_params(Path(emobench.__file__).parent / "presets" / "demo.yaml")


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A run whose stages DVC finds up to date."""
    reports = tmp_path / "reports" / "demo"
    (reports / "figures").mkdir(parents=True)
    for name in (*keeping.NEEDED, "figures/power.svg"):
        (reports / name).write_text(name)
    (tmp_path / "params.yaml").write_text("name: demo\n")
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(LOCK))
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "stage_costs.jsonl").write_text('{"benchmark": "demo", "stage": "edit", "seconds": 3}\n')
    monkeypatch.setattr(keeping, "_changed", lambda root: {})
    return tmp_path


def test_a_reference_is_the_report_with_all_that_made_it(root, params) -> None:
    (root / "reports" / "reference" / "demo").mkdir(parents=True)
    (root / "reports" / "reference" / "demo" / "of_an_earlier_run.csv").touch()
    folder = keeping.keep(params, root)
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    more = {"figures/power.svg", "params.yaml", "dvc.lock", "costs.csv", "provenance.json"}
    assert written == {*keeping.NEEDED, *more}
    assert (folder / "figures/power.svg").read_text() == "figures/power.svg"
    assert (folder / "costs.csv").read_text().splitlines()[1].startswith("edit,3,")
    known = json.loads((folder / "provenance.json").read_text())
    assert (known["benchmark"], known["versions"]["emobench"]) == ("demo", emobench.__version__)
    assert known["machine"]["cores"] >= 1
    assert known["files"]["params.yaml"] == file_digest(root / "params.yaml")
    assert keeping.changed_by_hand(folder, known) == []
    (folder / "verdicts.csv").write_text("improves")
    (folder / "more.csv").touch()
    (folder / "index.html").unlink()
    assert keeping.changed_by_hand(folder, known) == ["index.html", "more.csv", "verdicts.csv"]


def test_a_reference_of_tables_has_no_pages(root, params) -> None:
    folder = keeping.keep(params, root, pages=False)
    written = {path.name for path in folder.rglob("*")}
    assert written == {*keeping.NEEDED, "params.yaml", "dvc.lock", "costs.csv", "provenance.json"} - {"index.html"}
    assert keeping.changed_by_hand(folder, json.loads((folder / "provenance.json").read_text())) == []


def test_only_a_finished_run_is_kept(root, params, monkeypatch) -> None:
    monkeypatch.setattr(keeping, "_changed", lambda root: {"report": [], "edit": []})
    with pytest.raises(UserError, match="not up to date: edit, report; run dvc repro"):
        keeping.keep(params, root)
    with pytest.raises(UserError, match="not up to date: all; run dvc repro"):
        keeping.keep(dataclasses.replace(params, name="other"), _named(root, "other"))
    few = dataclasses.replace(params, data=dataclasses.replace(params.data, limit=9))
    with pytest.raises(UserError, match="demo was run with data.limit 9: no number counts; nothing is kept"):
        keeping.keep(few, root)
    (root / "reports" / "demo" / "metrics.json").unlink()
    with pytest.raises(UserError, match=r"reports/demo lacks metrics\.json; run dvc repro first"):
        keeping.keep(params, root)
    assert not (root / "reports" / "reference").exists()


def _named(root: Path, name: str) -> Path:
    (root / "reports" / "demo").rename(root / "reports" / name)
    (root / "reports" / "demo").mkdir()
    for path in (root / "reports" / name).iterdir():
        if path.is_file():
            (root / "reports" / "demo" / path.name).write_bytes(path.read_bytes())
    return root


def test_no_committed_reference_was_changed_by_hand() -> None:
    for path in (ROOT / "reports" / "reference").glob(f"*/{keeping.FILE}"):
        assert keeping.changed_by_hand(path.parent, json.loads(path.read_text())) == [], path.parent.name


def test_every_committed_reference_has_what_made_it() -> None:
    for folder in (ROOT / "reports" / "reference").iterdir():
        assert yaml.safe_load((folder / "params.yaml").read_text())["name"] == folder.name
        made = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]["prepare"]["params"]["params.yaml"]
        assert made["name"] == folder.name
