"""DVC as its users know it: the pipeline's picture, its metrics, a remote, experiments; and what stages wait for."""

import ast
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import small_repository as small
import yaml
from small_repository import git, opened, write_repository

ROOT = Path(__file__).parents[1]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")
SEEN = "artifacts/${name}/seen/"
PICTURES = {"data/${name}/images.npy", "artifacts/${name}/removed.png", "artifacts/${name}/report"}
SHOWN = {
    "dissect": """
        data/${name}/dataset.json data/${name}/vocabulary.json data/${name}/annotations.parquet
        models/${name}/network/network.json artifacts/${name}/image_embeddings.npy
        artifacts/${name}/concept_embeddings.npz artifacts/${name}/activations artifacts/${name}/activations_untrained
        artifacts/${name}/activations_noisy""",
    "report": """
        models/${name}/network/network.json models/${name}/clip/clip.json data/${name}/dataset.json
        data/${name}/vocabulary.json data/${name}/annotations.parquet artifacts/${name}/units.parquet
        artifacts/${name}/layers.parquet artifacts/${name}/evidence.parquet artifacts/${name}/nulls.parquet
        artifacts/${name}/profiles.npz artifacts/${name}/configs.parquet artifacts/${name}/predictions.npy
        artifacts/${name}/prediction_ids.json artifacts/${name}/unit_effects.parquet artifacts/${name}/search.parquet
        artifacts/${name}/verdicts.parquet reports/${name}/audit.json reports/${name}/network.json
        reports/${name}/history.csv reports/${name}/clip.json reports/${name}/clip_concepts.csv
        reports/${name}/concept_classes.csv reports/${name}/dissect.json reports/${name}/held_out.json
        reports/${name}/compare.json""",
    "track": """
        data/${name}/dataset.json data/${name}/vocabulary.json artifacts/${name}/layers.parquet
        artifacts/${name}/units.parquet artifacts/${name}/configs.parquet artifacts/${name}/predictions.npy
        artifacts/${name}/prediction_ids.json artifacts/${name}/verdicts.parquet artifacts/${name}/unit_effects.parquet
        artifacts/${name}/report models/${name}/network/network.json models/${name}/edited.safetensors
        models/${name}/search_scales.safetensors reports/${name}/audit.json reports/${name}/network.json
        reports/${name}/clip.json reports/${name}/held_out.json reports/${name}/compare.json reports/${name}/index.html
        reports/${name}/atlas.html reports/${name}/figures""",
}
"""What these stages read; the digests of images and weights stand in the cards."""


def outs(stage: str) -> dict[str, dict]:
    """Path -> options of a stage's outputs."""
    content = PIPELINE["stages"][stage]
    every = [*content["outs"], *content.get("metrics", [])]
    return {name: options for out in every for name, options in (out.items() if isinstance(out, dict) else [(out, {})])}


def given(stage: str) -> set[str]:
    """What a stage notes for others."""
    for node in ast.parse((ROOT / "emobench" / "stages" / f"{stage}.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "GIVEN":
            return {path.replace("{name}", "${name}") for path in ast.literal_eval(node.value)}
    return set()


def watched(stage: str) -> set[str]:
    """The files whose change reruns a stage: its deps, and what the notes among them tell of."""
    found, todo = set(), list(PIPELINE["stages"][stage]["deps"])
    while todo:
        path = todo.pop()
        found.add(path)
        if path.startswith(SEEN):
            todo += given(path.removeprefix(SEEN).removesuffix(".json"))
    return found


def test_a_note_tells_only_of_what_its_stage_waits_for_or_makes() -> None:
    noting = [stage for stage in PIPELINE["stages"] if given(stage)]
    assert noting == ["embed", "record", "dissect", "compare", "report"]
    for stage in noting:
        assert f"{SEEN}{stage}.json" in outs(stage)
        known = {*PIPELINE["stages"][stage]["deps"], *outs(stage)}
        assert {
            path for path in given(stage) if not any(path == one or path.startswith(f"{one}/") for one in known)
        } == set()


@pytest.mark.parametrize("stage", list(SHOWN))
def test_whatever_a_stage_reads_reruns_it(stage) -> None:
    assert set(SHOWN[stage].split()) - watched(stage) == set()


def test_pictures_stay_on_the_machine() -> None:
    options = {name: one for stage in PIPELINE["stages"] for name, one in outs(stage).items()}
    assert {name for name, one in options.items() if one.get("push") is False} == PICTURES


def test_the_pipeline_is_short_and_its_picture_fits_a_screen() -> None:
    from dvc.dagascii import draw

    assert len((ROOT / "dvc.yaml").read_text().splitlines()) < 200
    makers = {name: stage for stage in PIPELINE["stages"] for name in outs(stage)}
    edges = dict.fromkeys((makers[dep], stage) for stage, content in PIPELINE["stages"].items()
                          for dep in content["deps"] if dep in makers)  # fmt: skip
    # Where DVC puts a stage depends on where Python put it in memory.
    pictures = [draw(list(PIPELINE["stages"]), list(edges)) for _ in range(10)]
    assert max(len(line) for picture in pictures for line in picture.splitlines()) <= 120


@pytest.fixture(scope="module")
def repository(real, tmp_path_factory) -> Path:
    """The small benchmark in a repository; tests add to it."""
    return write_repository(tmp_path_factory.mktemp("dvc") / "repository", *real)


def dvc(root: Path, *arguments: str, code: int = 0) -> str:
    """What a DVC command prints; emobench is found beside this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    # Files, not pipes: a queue's workers live on for a while, and would hold a pipe open.
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as wrong:
        done = subprocess.run(command, cwd=root, stdout=said, stderr=wrong, env=environment, check=False, timeout=600)
        told = [file.seek(0) or file.read() for file in (said, wrong)]
    assert done.returncode == code, told[1]
    return told[0]


@pytest.mark.slow
def test_metrics_fit_a_screen_and_everything_is_up_to_date(repository) -> None:
    with opened(repository) as repo:
        shown = repo.metrics.show()[""]["data"]
        assert set(repo.status()) <= {"track"}
    assert list(shown) == ["reports/small/metrics.json"]
    numbers = shown["reports/small/metrics.json"]["data"]
    written = json.loads((repository / "reports/small/metrics.json").read_text())
    assert numbers == {name: value for name, value in written.items() if value is not None}
    assert 8 < len(numbers) <= len(written) == 13
    assert git(repository, "status", "--porcelain") == ""
    assert not [name for name in git(repository, "ls-files").splitlines() if name.startswith("reports/")]


@pytest.mark.slow
def test_a_second_clone_pulls_all_but_the_pictures(repository, tmp_path) -> None:
    config, store = repository / ".dvc/config", tmp_path / "store"
    remote = f"['remote \"store\"']\n    url = {store}\n"
    config.write_text(config.read_text().replace("[core]\n", "[core]\n    remote = store\n") + remote)
    small.save(repository, "a remote")
    with opened(repository) as repo:
        assert repo.push("report", with_deps=True) > 0
    git(tmp_path, "clone", "-q", str(repository), "clone")
    with opened(tmp_path / "clone") as repo:
        repo.pull("report", with_deps=True, allow_missing=True)
    there = {path: (tmp_path / "clone" / path.replace("${name}", "small")).exists()
             for stage in PIPELINE["stages"] if stage != "track" for path in outs(stage)}  # fmt: skip
    assert {path for path, exists in there.items() if not exists} == PICTURES
    for name in ("reports/small/index.html", "artifacts/small/units.parquet"):
        assert (tmp_path / "clone" / name).read_bytes() == (repository / name).read_bytes()


@pytest.mark.slow
def test_experiments_run_in_a_queue_with_two_workers_and_in_a_folder_of_their_own(repository) -> None:
    before, run = (repository / "params.yaml").read_bytes(), ("exp", "run", "-q")
    key = "data.audit.near_duplicate_distance"
    for name, distance in (("near", 2), ("far", 4)):
        dvc(repository, *run, "--queue", "-n", name, "-S", f"{key}={distance}", "prepare")
    dvc(repository, *run, "--run-all", "--jobs", "2")
    dvc(repository, *run, "--temp", "-n", "apart", "-S", f"{key}=5", "prepare")
    assert (repository / "params.yaml").read_bytes() == before
    assert git(repository, "status", "--porcelain") == ""
    names = {
        ref.rsplit("/", 1)[-1]: ref
        for ref in git(repository, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    }
    for name, distance in (("near", 2), ("far", 4), ("apart", 5)):
        lock = yaml.safe_load(git(repository, "show", f"{names[name]}:dvc.lock"))["stages"]["prepare"]
        assert lock["params"]["params.yaml"]["data"]["audit"]["near_duplicate_distance"] == distance
