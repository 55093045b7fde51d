"""``emobench use`` and a params.yaml that somebody edited; presets that extend others."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from emobench import cli
from emobench.errors import UserError
from emobench.inputs import use_preset
from emobench.inputs.keeping import BACKUP, changes
from emobench.params import load_params

PARAMS = Path("params.yaml")


def edit(old: str, new: str) -> None:
    text = PARAMS.read_text()
    assert old in text
    PARAMS.write_text(text.replace(old, new))


def test_what_nobody_edited_is_replaced_without_a_word(own) -> None:
    for _ in range(2):
        said = use_preset("demo", Path())
        assert not any("kept" in line for line in said)
    edit("# The embedded default", "# A comment is no edit;")
    use_preset("demo", Path())
    assert not Path(BACKUP).exists()


def test_an_edited_file_stays_and_the_changes_are_named(own) -> None:
    use_preset("demo", Path())
    edit("seed: 0", "seed: 7")
    edit("width: 0.25", "width: 0.5")
    before = PARAMS.read_text()
    # Options of the same network stay, as ever: that one is no change.
    result = CliRunner().invoke(cli.main, ["use", "demo"])
    assert result.exit_code == 1
    assert "params.yaml was edited, and this would change it: seed is 7, would be 0. Nothing is" in result.stderr
    assert PARAMS.read_text() == before
    assert not Path(BACKUP).exists()


def test_force_replaces_it_and_keeps_every_copy(own) -> None:
    kept = []
    for seed in (7, 8):
        use_preset("demo", Path(), force=True)
        edit("seed: 0", f"seed: {seed}")
        kept.append(PARAMS.read_text())
    said = use_preset("demo", Path(), force=True)
    assert f"the edited params.yaml is kept as {BACKUP}2" in said
    assert load_params(PARAMS).seed == 0
    assert [Path(name).read_text() for name in (BACKUP, f"{BACKUP}2")] == kept


def test_a_file_that_is_no_yaml_is_kept_too(own) -> None:
    PARAMS.write_text("seed: [")
    with pytest.raises(UserError, match="params.yaml was edited, and this would change it: it is no YAML now"):
        use_preset("demo", Path())
    use_preset("demo", Path(), force=True)
    assert Path(BACKUP).read_text() == "seed: ["


def test_many_changes_are_counted() -> None:
    said = changes({str(key): key for key in range(20)}, {str(key): key + 1 for key in range(20)})
    assert len(said) == 13
    assert said[-1] == "and 8 more"


def test_a_preset_of_ones_own_names_only_what_differs(own) -> None:
    Path("wide.yaml").write_text("extends: demo\nseed: 3\nnetwork:\n  options: {width: 0.5}\n")
    Path("wider.yaml").write_text("extends: wide.yaml\nname: widest\nedit:\n  taus: [0.0]\n  paper: {factor: 2.0}\n")
    use_preset("wide.yaml", Path())
    wide = load_params(PARAMS)
    assert (wide.name, wide.seed, wide.network.options) == ("wide", 3, {"width": 0.5, "dropout": 0.2})
    assert "extends" not in yaml.safe_load(PARAMS.read_text())
    use_preset("wider.yaml", Path())
    wider = load_params(PARAMS)
    assert (wider.name, wider.seed, wider.edit.taus) == ("widest", 3, [0.0])
    assert (wider.edit.paper.tau, wider.edit.paper.factor) == (0.0, 2.0)
    assert wider.edit.arms == load_params(Path(cli.__file__).parent / "presets" / "demo.yaml").edit.arms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: demoo\n", "unknown preset in extends of mine.yaml: 'demoo'; known: demo, .*; did you mean demo?"),
        ("extends: mine.yaml\n", "mine.yaml extends itself, through mine.yaml"),
        ("extends: 3\n", "mine.yaml: extends is 3; expected the name of a preset"),
        ("extends: demo\nsede: 3\n", "unknown key in top level: 'sede'.*; did you mean seed?"),
        ("extends: demo\nclip: {source: checkpoint}\n", "clip lacks input, prompts"),
        ("extends: [\n", "mine.yaml is not valid YAML"),
        ("extends: list.yaml\n", r"list.yaml, which mine.yaml extends, is \['demo'\]; expected a mapping of keys"),
        ("", "^mine.yaml: top level is None; expected a mapping of keys"),
        ("- demo\n", r"^mine.yaml: top level is \['demo'\]; expected a mapping of keys"),
        ("seed: 1\nseed: 2\n", "^mine.yaml is not valid YAML: .* found duplicate key .seed. [^T]*$"),
    ],
)
def test_a_wrong_preset_is_told(own, text, message) -> None:
    Path("mine.yaml").write_text(text)
    Path("list.yaml").write_text("- demo\n")
    with pytest.raises(UserError, match=message):
        use_preset("mine.yaml", Path())
    assert not PARAMS.exists()


def test_validate_tells_every_mistake_at_once(own) -> None:
    use_preset("demo", Path())
    edit("name: demo", "name: ../x")
    edit("  concept_set: expressions", "  concept_set: expresions")
    edit("joint: [lin1, lin2]", "joint: [lin1]")
    result = CliRunner().invoke(cli.main, ["validate", "--format", "json"])
    told = yaml.safe_load(result.stdout)
    assert (result.exit_code, told["valid"], len(told["mistakes"])) == (1, False, 3)
    for start in ("params: name is '../x'", "params: edit.search.joint is ['lin1']"):
        assert any(line.startswith(start) for line in told["mistakes"])
    assert any(line.endswith("; did you mean expressions?") for line in told["mistakes"])


def test_validate_finds_inputs_that_will_fail(own, tmp_path) -> None:
    """An empty weights file, an empty CLIP file, a function that is not there, a layer and a concept that are not."""
    use_preset("demo", Path())
    for name in ("weights.pt", "clip.pt"):
        Path("data/raw", name).touch()
    Path("mine.py").write_text("def pick(target):\n    return target\n")
    values = yaml.safe_load(PARAMS.read_text())
    del values["network"]["train"], values["clip"]["training"]
    given = {"source": "weights", "classes": [], "output": "", "sha256": "", "input": "data/raw/weights.pt"}
    values["network"] |= given
    values["clip"] |= {"source": "checkpoint", "model": "ViT-B-16", "input": "data/raw/clip.pt"}
    values["edit"] |= {"file": "mine.py", "arms": ["mine.py:pikc"], "concepts": ["smlie"]}
    PARAMS.write_text(yaml.safe_dump(values | {"device": "cuda"}))
    result = CliRunner().invoke(cli.main, ["validate"])
    assert result.exit_code == 1, result.output
    said = result.stderr
    assert "weights.pt" in said
    assert "clip.pt" in said
    assert "params: edit.arms: mine.py has no function 'pikc'" in said
    assert "edit.concepts: 'smlie'" in said
    assert "did you mean smile?" in said
    assert "device is cuda, but torch finds no CUDA device" in said
    assert len(said.splitlines()) == 5
