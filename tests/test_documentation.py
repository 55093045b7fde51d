"""Every command that the documentation tells to type exists, its scripts do what it says, its reference is whole."""

import contextlib
import re
import sys
import tomllib
from pathlib import Path

import click
import documents
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from ruamel.yaml import YAML

from emobench.cli import main
from emobench.edits.target import Target
from emobench.params import load_params
from emobench.stored_tables import TABLES

ROOT, DOCS = documents.ROOT, documents.ROOT / "docs"
OTHERS = {"bash", "cd", "dvc", "git", "mlflow", "python", "rsync", "source", "ssh", "tmux", "MLFLOW_TRACKING_URI"}
"""Programs that pages call beside emobench and make."""
MADE = ("command-line", "params", "tables", "python")
"""Pages of the reference that are made from the code when the site is built."""


@pytest.fixture(scope="module")
def site():
    """The makers of the reference pages, and of the tutorials' outputs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(DOCS / "site"), str(DOCS), *sys.path])
        import command_line
        import outputs
        import params_keys
        import table_columns

        yield {"cli": command_line, "params": params_keys, "tables": table_columns, "outputs": outputs}


@pytest.mark.parametrize("page", documents.PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_exists_with_its_options(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in documents.commands(page):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, words
        elif words[0] == "emobench":
            context = main.make_context("emobench", words[1:])
            name, command, arguments = main.resolve_command(context, words[1:])
            with contextlib.suppress(click.exceptions.Exit):  # of --help
                assert command.make_context(name, arguments, parent=context).params is not None
        else:
            assert words[0].partition("=")[0] in OTHERS, words


def test_a_wrong_option_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```\nemobench use folder --archives x\n```\n")
    with pytest.raises(click.NoSuchOption):
        test_every_command_exists_with_its_options(page)


@pytest.mark.parametrize("page", ["tutorials/reading-a-verdict.md", "explanation/power.md"])
def test_shown_outputs_are_what_the_blocks_print(site, tmp_path, page):
    text = (DOCS / page).read_text()
    assert site["outputs"].filled(text, site["outputs"].with_demo(tmp_path)) == text, "run: python docs/outputs.py"


def test_own_concepts_as_typed(tmp_path, monkeypatch):
    page = DOCS / "tutorials" / "own-concepts.md"
    monkeypatch.chdir(tmp_path)
    for folder in ("data/raw", "concepts", ".dvc"):
        Path(folder).mkdir(parents=True)
    Path("data/raw/none").touch()
    for name, text in documents.files(page).items():
        Path(name).write_text(text)
    sets = []
    for program, *words in documents.commands(page):
        if (program, words[0]) == ("emobench", "use"):
            result = CliRunner().invoke(main, words)
            assert result.exit_code == 0, result.output
            sets.append((load_params().concept_sets[-1], load_params().edit.concept_set))
    assert sets == [("concepts/mouths.csv", "mouths"), ("expressions", "expressions")]


def test_own_selection_strategy_selects_units():
    page = DOCS / "tutorials" / "own-selection-strategy.md"
    names = {}
    exec(documents.files(page)["my_strategies.py"], names)
    units = pd.DataFrame({"stability": [0.9, 0.2, 0.8, 1.0], "margin": [3.0, 9.0, 0.1, 2.0]})
    edit = load_params(ROOT / "emobench" / "presets" / "demo.yaml").edit
    weight = torch.ones(4, 2)
    target = Target(edit, "lin2", weight, torch.zeros(4), None, units, units, ("happy",), {})
    selected = names["clear_and_stable"](target)
    assert selected.tolist() == [True, False, False, False]
    found = list(target.operations("own", torch.tensor(selected.to_numpy()), divided=True))
    assert found[0].scale.tolist() == pytest.approx([1.5, *[1 / 1.5] * 3])


def test_the_reference_has_every_command_table_and_key(site):
    commands, tables, keys = (site[name].page() for name in ("cli", "tables", "params"))
    for name, command in main.commands.items():
        assert f"emobench {name}" in commands
        for option in command.params:
            assert name in ("help",) or option.opts[0] in commands or option.human_readable_name in commands
    assert set(re.findall(r"^## (\w+)$", tables, re.MULTILINE)) == set(TABLES)
    assert all(f"| `{column}` |" in tables for table in TABLES.values() for column in table.key)
    preset = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
    for name, section in preset.items():
        assert f"| `{name}` |" in keys
        assert all(f"| `{key}` |" in keys for key in (section if isinstance(section, dict) else ()))


def test_every_key_of_params_is_described(site):
    rows = [row.split(" | ") for row in site["params"].page().splitlines() if row.startswith("| `")]
    assert len(rows) > 100
    assert [row[0] for row in rows if not row[1].strip()] == [], "say it under Attributes: in emobench/settings"


@pytest.mark.parametrize("page", documents.PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    made = {DOCS / "reference" / f"{name}.md" for name in MADE}
    for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            path = (page.parent / target).resolve()
            assert path.exists() or path in made, target


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 110


def test_pages_of_the_navigation_exist_or_are_made():
    text = (ROOT / "mkdocs.yml").read_text()
    listed = set(re.findall(r"([\w/-]+)\.md$", text.partition("\nnav:")[2], re.MULTILINE))
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert listed == pages | {f"reference/{name}" for name in MADE} | {"contributing", "changelog"}
    assert "docs" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
