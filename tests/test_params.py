import copy
import re
import subprocess
from operator import attrgetter
from pathlib import Path

import pytest
import yaml

from emobench.errors import UserError
from emobench.params import TAKEN, Params, load_params
from emobench.schema import Mistakes

PRESETS = Path(__file__).parents[1] / "emobench" / "presets"
DEMO = yaml.safe_load((PRESETS / "demo.yaml").read_text())
FOLDER = yaml.safe_load((PRESETS / "folder.yaml").read_text())["data"]
GIVEN = {key: value for key, value in DEMO["network"].items() if key != "train"} | {"source": "weights"}
GIVEN |= {"classes": [], "output": "", "sha256": ""}
PICTURE = {
    "channels": 1, "size": [40, 40], "range": [0, 1], "mean": [], "std": [], "interpolation": "bilinear", "crop": 1,
}  # fmt: skip


def load(tmp_path: Path, changes: dict) -> Params:
    values = copy.deepcopy(DEMO)
    for key, value in changes.items():
        *sections, last = key.split(".")
        target = values
        for section in sections:
            target = target[section]
        if value is None:
            del target[last]
        else:
            target[last] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_params(path)


@pytest.mark.parametrize("preset", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_complete(preset: Path) -> None:
    assert load_params(preset).name == preset.stem


def test_committed_params_are_the_demo() -> None:
    assert load_params(PRESETS.parents[1] / "params.yaml") == load_params(PRESETS / "demo.yaml")


def test_whole_numbers_are_floats_where_floats_are_wanted(tmp_path: Path) -> None:
    tau = load(tmp_path, {"dissect.tau": 1}).dissect.tau
    assert tau == 1.0
    assert isinstance(tau, float)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network.train.widht": 1.0}, "unknown key in network.train: 'widht'; known: epochs, batch_size"),
        ({"network.weights": "x"}, "unknown key in network: 'weights'; known: architecture, options, file"),
        ({"network.source": "hub"}, "unknown value for network.source: 'hub'; known: train, weights"),
        ({"network.source": None}, "network lacks source; known: train, weights"),
        ({"network.source": "weights"}, "params: network lacks classes, output, sha256"),
        ({"network.file": "net.py"}, "network.file is net.py, architecture is vggnet; expected data/raw/none"),
        ({"network.architecture": "net.py:build"}, "network.file is data/raw/none, architecture is net.py:build"),
        ({"network.picture": PICTURE | {"size": [40]}}, "network.picture.size is [40]; expected 2 numbers"),
        ({"network.picture": PICTURE | {"mean": [0.5, 0.5]}}, "network.picture.mean is [0.5, 0.5]; expected 0 or 1"),
        ({"network.picture": PICTURE | {"std": [0.0]}}, "network.picture.std is [0.0], which divides; expected each"),
        ({"clip.image_std": [0.0, 0.25, 0.25]}, "clip.image_std is [0.0, 0.25, 0.25]; expected three numbers"),
        ({"clip.image_std": [0.25]}, "clip.image_std is [0.25]; expected three numbers, one a colour, std above 0"),
        ({"clip.image_mean": []}, "clip.image_mean is []; expected three numbers"),
        ({"edit.taus": None}, "edit lacks taus"),
        ({"seed": "zero"}, "seed is 'zero'; expected int"),
        ({"seed": True}, "seed is True; expected int"),
        ({"network.train.max_lr": "fast"}, "network.train.max_lr is 'fast'; expected float"),
        ({"network.train.max_lr": "1e-3 "}, "is '1e-3 '; expected float (write 0.001, or 1.0e-3)"),
        ({"data.size": 48}, "unknown key in data: 'size'; known: input, limit, audit, source, synthetic"),
        ({"data": FOLDER | {"size": 8}}, "data.size is 8; expected 16 to 1024"),
        ({"data": FOLDER | {"channels": 2}}, "data.channels: 2; known: 1, 3"),
        (
            {"data": FOLDER | {"labels": "ferplus"}},
            "unknown key in data: 'labels'; known: input, limit, audit, classes",
        ),
        ({"data.source": "affectnet"}, "data.source: 'affectnet'; known: synthetic, folder, table, rafdb"),
        ({"data.archive": "x"}, "unknown key in data: 'archive'; known: input"),
        ({"compare.bootstrap_draws": 1000.5}, "compare.bootstrap_draws is 1000.5; expected int"),
        ({"compare.bootstrap_draws": float("inf")}, "compare.bootstrap_draws is inf; expected int"),
        ({"network.train.label_smoothing": 1.5}, "network.train.label_smoothing is 1.5; expected 0 to 0.99"),
        ({"network.train.max_lr": float("inf")}, "max_lr is inf; expected a finite number from 0"),
        ({"network.train.weight_decay": 1e300}, "weight_decay is 1e+300; expected 0 to 1e+30"),
        ({"edit.taus": [-1e300]}, "edit.taus[0] is -1e+300; expected -1e+30 to inf"),
        ({"network.train.label_smoothing": float("nan")}, "label_smoothing is nan; expected 0 to 0.99"),
        ({"edit.factors": [1.5, -1]}, "edit.factors[1] is -1; expected 0 to 4"),
        ({"edit.factors": [0, 1.5]}, "edit.factors has a 0, but arm similarity divides the other rows by it"),
        ({"edit.divided_factors": [0]}, "edit.divided_factors has a 0, but arm fdr divides"),
        ({"edit.paper.factor": 0}, "edit.paper.factor is 0"),
        ({"edit.operations": []}, "edit.operations is empty; expected at least one value"),
        ({"edit.operations": ["double"]}, "edit.operations[0]: 'double'; known: rows, rows_bias, zero, mean"),
        ({"edit.arms": ["luck"]}, "edit.arms[0]: 'luck'; known: similarity, weight_norm, proportional, fdr"),
        ({"edit.jobs": 0}, "edit.jobs is 0; expected 1"),
        ({"edit.controls.draws": -1}, "edit.controls.draws is -1; expected 0"),
        ({"edit.factors": 1.5}, "edit.factors is 1.5; expected a list"),
        ({"edit.search.penalties": []}, "edit.search.penalties and exponents need at least one value each"),
        ({"edit.search.exponents": [0, 1.0]}, "no exponent of 0"),
        ({"edit.search.joint": ["lin1"]}, "edit.search.joint is ['lin1']; expected no layer, or at least two"),
        ({"edit.search.joint": ["lin1", "lin1"]}, "expected no layer, or at least two, each once"),
        ({"edit.search.joint": "some"}, "edit.search.joint: 'some'; known: all"),
        ({"edit.search.augment": 1}, "edit.search.augment is 1; expected bool"),
        (
            {"edit.search.augment": True, "network": GIVEN},
            "edit.search.augment is true, but how given weights were trained is not known; expected false",
        ),
        ({"edit.search.split": "test"}, "edit.search.split: 'test'; known: train, val"),
        ({"edit.search.folds": 1}, "edit.search.folds is 1; expected 2 to inf"),
        ({"edit.concept_set": "moods"}, "edit.concept_set 'moods'; known: emotions, expressions"),
        ({"concept_sets": ["emotions", "emotions"]}, "concept_sets is ['emotions', 'emotions']; expected at least one"),
        ({"dissect": [1]}, "dissect is [1]; expected a mapping"),
        ({"name": "../x"}, "name is '../x'; expected small letters"),
        ({"dissect.soft_wpmi.p_end": 0.999}, "p_end is above p_start"),
    ],
)
def test_wrong_values_name_section_and_key(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load(tmp_path, changes)


def test_every_mistake_is_a_line_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(Mistakes) as caught:
        load(tmp_path, {"seed": "zero", "edit.jobs": 0, "edit.taus": None})
    assert sorted(caught.value.lines) == [
        "params: edit lacks taus", "params: edit.jobs is 0; expected 1 to inf", "params: seed is 'zero'; expected int",
    ]  # fmt: skip
    assert str(caught.value).endswith(" (and 2 more: emobench validate lists all)")


def test_a_factor_of_zero_needs_arms_that_do_not_divide(tmp_path: Path) -> None:
    changes = {"edit.arms": ["proportional", "effect"], "edit.factors": [0, 1.5], "edit.lone_factors": [0]}
    assert load(tmp_path, changes | {"edit.divided_factors": [0]}).edit.factors == [0.0, 1.5]


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="emobench use demo"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("name: [")
    with pytest.raises(UserError, match="not valid YAML"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("before", "after", "section", "key", "value"),
    [
        ("weight_decay: 0.0005", "weight_decay: 1e-05", "network.train", "weight_decay", 1e-5),
        ("weight_decay: 0.0005", "weight_decay: 5E-4", "network.train", "weight_decay", 5e-4),
        ("bootstrap_draws: 10000", "bootstrap_draws: 1e3", "compare", "bootstrap_draws", 1000),
        ("bootstrap_draws: 10000", "bootstrap_draws: 1000.0", "compare", "bootstrap_draws", 1000),
    ],
)
def test_numbers_as_dvc_writes_them(tmp_path: Path, before: str, after: str, section: str, key: str, value) -> None:
    text = (PRESETS / "demo.yaml").read_text()
    assert before in text
    (tmp_path / "params.yaml").write_text(text.replace(before, after, 1))
    found = attrgetter(f"{section}.{key}")(load_params(tmp_path / "params.yaml"))
    assert (found, type(found)) == (value, type(value))


def test_folders_that_git_keeps_below_reports_are_named_there_and_are_no_benchmarks() -> None:
    """A new file in one that .gitignore doesn't name would never be seen."""
    root = PRESETS.parents[1]
    kept = set(re.findall(r"^!/reports/([a-z]+)/$", (root / ".gitignore").read_text(), re.MULTILINE))
    listed = subprocess.run(["git", "ls-files", "reports"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert kept == {Path(name).parts[1] for name in listed.splitlines() if len(Path(name).parts) > 2}
    assert kept <= set(TAKEN)
