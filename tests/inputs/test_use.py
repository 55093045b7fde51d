import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_fer2013 import csv_rows, csv_text, kaggle_zip, noise, png, write_zip

from emobench.errors import UserError
from emobench.inputs import check_inputs, use_preset
from emobench.networks.vggnet import VGGNet
from emobench.params import load_params
from emobench.vocabulary.class_names import BASIC


@pytest.fixture
def archive(tmp_path) -> Path:
    return kaggle_zip(tmp_path / "archive.zip")


def test_the_demo_needs_nothing(repository) -> None:
    use_preset("demo", repository)
    params = load_params(repository / "params.yaml")
    check_inputs(params, repository)
    assert params == load_params(Path(__file__).parents[2] / "params.yaml")
    assert "# The embedded default" in (repository / "params.yaml").read_text()


def test_fer2013_with_everything_and_again_without(repository, archive, tmp_path) -> None:
    torch.save({"params": VGGNet(1 / 32).state_dict()}, tmp_path / "VGGNet")
    (tmp_path / "face_landmarker.task").write_bytes(b"model")
    given = {
        "weights": tmp_path / "VGGNet",
        "options": {"width": 1 / 32},
        "annotations": tmp_path / "face_landmarker.task",
    }
    use_preset("fer2013", repository, archive=archive, **given)
    params = load_params(repository / "params.yaml")
    assert (params.data.input, params.network.source) == ("data/raw/fer2013-archive.zip", "weights")
    assert (params.annotate.source, params.annotate.input) == ("landmarks", "data/raw/fer2013-annotations.task")
    with pytest.raises(UserError, match=r"soft_wpmi.top_k is 100; the probe \(train_unique\) has 7 images at most"):
        check_inputs(params, repository)
    few = dataclasses.replace(params.dissect, similarity_fns=["rank_reorder"])
    check_inputs(dataclasses.replace(params, dissect=few), repository)
    assert (repository / "data/raw/fer2013-archive.zip.dvc").is_file()
    ignored = subprocess.run(
        ["git", "check-ignore", "data/raw/fer2013-archive.zip"], cwd=repository, check=False, capture_output=True
    )
    assert ignored.returncode == 0
    use_preset("demo", repository)
    use_preset("fer2013", repository, options={"width": 1 / 32})
    assert load_params(repository / "params.yaml") == params


def test_fer2013_with_the_archive_alone_knows_only_emotions(quick_repository, archive) -> None:
    said = use_preset("fer2013", quick_repository, archive=archive)
    params = load_params(quick_repository / "params.yaml")
    assert (params.annotate.source, params.concept_sets, params.edit.concept_set) == ("none", ["emotions"], "emotions")
    assert params.network.source == "train"
    assert any("knows the 7 emotions only" in line for line in said)


@pytest.mark.parametrize(
    ("preset", "given", "message"),
    [
        ("fer", {}, "unknown preset 'fer'; known: demo, fer2013"),
        ("fer2013", {}, "needs images: emobench use fer2013 --archive FILE"),
        ("fer2013", {"archive": Path("nowhere.zip")}, "no file or folder nowhere.zip"),
        ("demo", {"archive": Path("nowhere.zip")}, "takes no --archive"),
    ],
)
def test_what_is_missing_is_named(quick_repository, preset, given, message) -> None:
    with pytest.raises(UserError, match=message):
        use_preset(preset, quick_repository, **given)
    assert not (quick_repository / "params.yaml").exists()


def test_validate_finds_broken_inputs(quick_repository, archive) -> None:
    use_preset("fer2013", quick_repository, archive=archive)
    params = load_params(quick_repository / "params.yaml")
    kept = quick_repository / params.data.input
    kept.unlink()
    with pytest.raises(UserError, match="data.input is data/raw/fer2013-archive.zip, which is not there"):
        check_inputs(params, quick_repository)
    kept.write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(UserError, match="is a truncated or damaged zip"):
        check_inputs(params, quick_repository)


def test_another_archive_replaces_the_earlier_one_and_nothing_else(quick_repository, archive) -> None:
    use_preset("fer2013", quick_repository, archive=archive)
    mine = quick_repository / "data/raw/fer2013-archive-mine.csv"
    mine.write_text(csv_text(csv_rows()))
    use_preset("fer2013", quick_repository, archive=mine)
    assert load_params(quick_repository / "params.yaml").data.input == "data/raw/fer2013-archive.csv"
    assert mine.is_file()
    left = sorted(path.name for path in (quick_repository / "data/raw").glob("fer2013-archive.*"))
    assert left == ["fer2013-archive.csv", "fer2013-archive.csv.dvc"]


def test_a_copy_that_fails_keeps_the_earlier_archive(quick_repository, archive, monkeypatch) -> None:
    use_preset("fer2013", quick_repository, archive=archive)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("emobench.inputs.bring.shutil.copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        use_preset("fer2013", quick_repository, archive=archive)
    assert (quick_repository / "data/raw/fer2013-archive.zip").read_bytes() == archive.read_bytes()


def test_a_device_and_a_precision_that_the_machine_lacks_are_found_before_any_work(
    quick_repository, monkeypatch
) -> None:
    root = quick_repository
    use_preset("demo", root)
    params = load_params(root / "params.yaml")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device is cuda, but torch finds no CUDA device"):
        check_inputs(dataclasses.replace(params, device="cuda"), root)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    check_inputs(dataclasses.replace(params, device="cuda"), root)
    explicit = dataclasses.replace(
        params.network, train=dataclasses.replace(params.network.train, precision="bfloat16")
    )
    with pytest.raises(UserError, match="bfloat16, which this GPU can't do"):
        check_inputs(dataclasses.replace(params, device="cuda", network=explicit), root)


def test_what_dvc_refuses_leaves_the_earlier_archive(repository, archive, tmp_path) -> None:
    use_preset("fer2013", repository, archive=archive)
    before = {path.name: path.read_bytes() for path in (repository / "data/raw").iterdir()}
    shutil.rmtree(repository / ".git")
    table = tmp_path / "other.csv"
    table.write_text(csv_text(csv_rows()))
    with pytest.raises(UserError, match="dvc add data/raw/fer2013-archive.csv failed: .*not a git repository"):
        use_preset("fer2013", repository, archive=table)
    assert {path.name: path.read_bytes() for path in (repository / "data/raw").iterdir()} == before


def test_an_archive_that_prepare_would_refuse_replaces_nothing(quick_repository, archive, tmp_path) -> None:
    use_preset("fer2013", quick_repository, archive=archive)
    kept = (quick_repository / "data/raw/fer2013-archive.zip").read_bytes()
    broken = kaggle_zip(tmp_path / "broken.zip", **{"train/angry/Training_0.png": b"no picture"})
    other = write_zip(tmp_path / "other.zip", {"notes.txt": b"nothing"})
    for path, message in {broken: "can't be decoded", other: "no picture in it"}.items():
        with pytest.raises(UserError, match=message):
            use_preset("fer2013", quick_repository, archive=path)
    assert (quick_repository / "data/raw/fer2013-archive.zip").read_bytes() == kept


def test_use_says_what_it_found(quick_repository, archive, tmp_path) -> None:
    words = {"angry": "anger", "happy": "happiness"}
    files = {f"{split}/{words.get(name, name)}/{k}.png": png(noise(1, k)[0]) for split in ("train", "test")
             for name in BASIC for k in range(2)}  # fmt: skip
    said = use_preset("fer2013", quick_repository, archive=write_zip(tmp_path / "words.zip", files))
    assert "classes by synonym: anger is angry, happiness is happy" in said
    assert any("28 pictures of 7 classes" in line for line in said)


@pytest.mark.slow
def test_dvc_knows_the_archive_and_sends_it_away_only_if_asked(repository, archive, tmp_path) -> None:
    shutil.copy(Path(__file__).parents[2] / ".gitignore", repository)
    use_preset("fer2013", repository, archive=archive)

    def run(*command: str, at: Path = repository) -> str:
        command = (sys.executable, "-m", *command) if command[0] == "dvc" else command
        return subprocess.run(command, cwd=at, check=True, capture_output=True, text=True).stdout

    run("dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    run("git", "add", ".")
    run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "data")
    assert not [name for name in run("git", "ls-files").split() if name.endswith(".zip")]
    run("dvc", "push")
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    note = repository / "data/raw/fer2013-archive.zip.dvc"
    note.write_text("".join(line for line in note.read_text().splitlines(True) if "push: false" not in line))
    run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qam", "asked for")
    run("dvc", "push")
    run("git", "clone", "-q", str(repository), str(tmp_path / "clone"))
    run("dvc", "pull", at=tmp_path / "clone")
    assert (tmp_path / "clone/data/raw/fer2013-archive.zip").read_bytes() == archive.read_bytes()
