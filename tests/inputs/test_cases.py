"""Situations from other projects' trackers: each works, or one line says why not."""

import dataclasses
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import emobench
from emobench import cli
from emobench.errors import UserError
from emobench.faces.sources import look_at, source_images
from emobench.networks.vggnet import VGGNet
from emobench.params import load_params, read_params
from emobench.tracking.tracker import clear_errors, store_uri
from emobench.vocabulary import read_concepts
from emobench.vocabulary.class_names import BASIC
from emobench.weights import differences, fitted_state, read_state

PRESETS = Path(emobench.__file__).parent / "presets"
USAGE = ["Training"] * 24 + ["PublicTest"] * 8 + ["PrivateTest"] * 8
VOTES = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF"]
EIGHT = (*BASIC, "contempt")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def read(path: Path, **changes):
    data = dataclasses.replace(load_params(PRESETS / "fer2013.yaml").data, input=str(path), **changes)
    look_at(data, path)
    raw, _ = source_images(data, 0)
    return raw


def pixels(rng) -> str:
    return " ".join(map(str, rng.integers(0, 255, 2304)))


def table(path: Path, rng, labels, usage=USAGE, separator=",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [separator.join([str(label), pixels(rng), split]) for label, split in zip(labels, usage, strict=True)]
    path.write_text("\n".join([separator.join(["emotion", "pixels", "Usage"]), *rows]) + "\n")
    return path


def folder(path: Path, rng, classes=BASIC, *, side=48, channels=1, splits=("train", "test"), prefix=False) -> Path:
    for split in splits:
        for label in classes:
            for number in range(3):
                shape = (side, side) if channels == 1 else (side, side, 3)
                usage = {"train": "Training", "test": ("PublicTest", "PrivateTest", "PublicTest")[number]}.get(
                    split, ""
                )
                name = f"{usage}_{rng.integers(10**7)}" if prefix else f"im{split}{number}"
                (path / split / label).mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8))
                picture.save(path / split / label / f"{name}.png")
    return path


def zipped(path: Path, files: dict[str, Path]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in files.items():
            archive.write(file, name)
    return path


def test_pictures_of_another_size_in_colour_are_stored_as_params_say(tmp_path, rng):
    source = folder(tmp_path / "rgb224", rng, side=224, channels=3, prefix=True)
    assert read(source).images.shape == (42, 48, 48)
    assert read(source, size=64, channels=3).images.shape == (42, 64, 64, 3)


def test_without_fer2013s_file_names_test_is_halved(tmp_path, rng):
    raw = read(folder(tmp_path / "noprefix", rng))
    assert set(Counter(raw.splits)) == {"train", "val", "test"}
    assert "its test is halved into val and test" in " ".join(raw.said)


def test_known_synonyms_are_their_classes(tmp_path, rng):
    words = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
    raw = read(folder(tmp_path / "synonyms", rng, words, prefix=True))
    assert raw.classes == BASIC
    assert "happiness is happy" in " ".join(raw.said)


def test_eight_classes(tmp_path, rng):
    assert read(folder(tmp_path / "contempt", rng, EIGHT, prefix=True)).classes == EIGHT
    assert read(table(tmp_path / "ck8.csv", rng, [row % 8 for row in range(len(USAGE))])).classes == EIGHT


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_whole_floats_are_labels_whatever_separates_the_cells(tmp_path, rng, separator):
    raw = read(table(tmp_path / "float.csv", rng, [float(row % 7) for row in range(len(USAGE))], separator=separator))
    assert sorted(Counter(raw.labels.tolist())) == list(range(7))


def test_a_header_again_in_the_middle_is_named_and_blank_lines_at_the_end_are_nothing(tmp_path, rng):
    path = table(tmp_path / "twice.csv", rng, [row % 7 for row in range(len(USAGE))])
    whole = path.read_text()
    path.write_text(whole + "\n\n")
    assert len(read(path).images) == len(USAGE)
    lines = whole.splitlines()
    path.write_text("\n".join([*lines[:10], lines[0], *lines[10:]]))
    with pytest.raises(UserError, match="line 11: unknown emotion 'emotion'; expected 0 to"):
        read(path)


def test_train_and_test_tables_of_a_challenge(tmp_path, rng):
    (tmp_path / "set").mkdir()
    rows = "".join(f"{row % 7},{pixels(rng)}\n" for row in range(70))
    (tmp_path / "set" / "train.csv").write_text(f"emotion,pixels\n{rows}")
    (tmp_path / "set" / "test.csv").write_text(f"pixels\n{pixels(rng)}\n")
    raw = read(tmp_path / "set")
    assert len(raw.images) == 70
    assert "test.csv has no labels and is left out" in " ".join(raw.said)


def test_the_challenges_zip_takes_the_table_that_has_all(tmp_path, rng):
    whole = table(tmp_path / "whole.csv", rng, [row % 7 for row in range(len(USAGE))])
    other = tmp_path / "train.csv"
    other.write_text(f"emotion,pixels\n0,{pixels(rng)}\n")
    raw = read(zipped(tmp_path / "challenge.zip", {"icml_face_data.csv": whole, "train.csv": other}))
    assert len(raw.images) == len(USAGE)
    assert "icml_face_data.csv is read; train.csv left out" in " ".join(raw.said)


def test_votes_of_ferplus_are_used_if_asked_for_and_else_said(tmp_path, rng):
    whole = table(tmp_path / "fer2013.csv", rng, [row % 7 for row in range(len(USAGE))])
    votes = [np.eye(10, dtype=int)[row % 9] * 10 for row in range(len(USAGE))]
    lines = [",".join([split, f"fer{row:07d}.png" if row != 5 else "", *map(str, votes[row])])
             for row, split in enumerate(USAGE)]  # fmt: skip
    (tmp_path / "fer2013new.csv").write_text("\n".join([",".join(["Usage", "Image name", *VOTES]), *lines]) + "\n")
    both = {name: tmp_path / name for name in ("fer2013.csv", "fer2013new.csv")}
    archive = zipped(tmp_path / "both.zip", both)
    assert len(whole.read_text().splitlines()) == 1 + len(USAGE)
    assert "are not used; params data.labels: ferplus takes them" in " ".join(read(archive).said)
    voted = read(archive, labels="ferplus")
    assert voted.classes == EIGHT
    assert len(voted.images) == len(USAGE) - 1 - sum(row % 9 == 8 for row in range(len(USAGE)))


@pytest.mark.parametrize("splits", [("train", "val", "test"), ("Training", "PublicTest", "PrivateTest")])
def test_evident_splits_are_used_and_strangers_skipped_and_counted(tmp_path, rng, splits):
    source = folder(tmp_path / "set", rng, splits=splits)
    for name in ("README.md", "LICENSE"):
        (source / name).write_text("text")
    raw = read(source)
    assert Counter(raw.splits) == {"train": 21, "val": 21, "test": 21}
    assert "2 other files skipped (LICENSE, README.md)" in " ".join(raw.said)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("\ufeffsmile\r\nfrown\r\n".encode(), ["smile", "frown"]),
        (b"smile\nfrown\n\n\n", ["smile", "frown"]),
        (b"# a comment\nsmile\nfrown\n", ["smile", "frown"]),
    ],
)
def test_lists_of_concepts_as_editors_write_them(tmp_path, content, expected):
    (tmp_path / "mine.txt").write_bytes(content)
    assert list(read_concepts("mine.txt", tmp_path)) == expected


def test_a_list_in_one_line_is_asked_about(tmp_path):
    (tmp_path / "mine.txt").write_text("smile, frown, closed eyes\n")
    with pytest.raises(UserError, match="all in one line with commas; expected one concept a line"):
        read_concepts("mine.txt", tmp_path)


STATE = VGGNet(width=0.0625).state_dict()
CONTENTS = {
    "data parallel": {"params": {f"module.{name}": value for name, value in STATE.items()}},
    "numpy numbers": {"state_dict": STATE, "epoch": 3, "best_acc1": np.float64(69.4)},
    "lightning": {"state_dict": {f"model.{name}": value for name, value in STATE.items()}, "pytorch-lightning": "2"},
    "no counters": {name: value for name, value in STATE.items() if "num_batches" not in name},
    **{name: {name: STATE} for name in ("net", "model", "model_state_dict", "state_dict")},
}


@pytest.mark.parametrize("content", CONTENTS)
def test_checkpoints_in_the_wild_fit(tmp_path, content):
    torch.save(CONTENTS[content], tmp_path / "w.pt")
    state = fitted_state(read_state(tmp_path / "w.pt", "params"), STATE)
    assert differences(state, STATE) == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "is a web page"),
        (b"", r"is not a weights file \(EOFError\)"),
    ],
)
def test_what_is_no_weights_file_is_named_for_what_it_is(tmp_path, content, message):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_state(tmp_path / "w.pth", "params")


def test_whole_objects_and_integers_are_no_weights(tmp_path):
    torch.save(VGGNet(width=0.0625), tmp_path / "whole.pth")
    with pytest.raises(UserError, match="is a pickle of whole objects .*VGGNet.* save its state dict instead"):
        read_state(tmp_path / "whole.pth", "params")
    for kind in (torch.int32, torch.bool, torch.complex64):
        other = {name: value.to(kind) if value.is_floating_point() else value for name, value in STATE.items()}
        assert "no floating-point numbers" in differences(fitted_state(other, STATE), STATE)


def test_numbers_as_dvc_writes_them(tmp_path):
    text = (PRESETS / "demo.yaml").read_text()
    changed = text.replace("weight_decay: 0.0005", "weight_decay: 1e-05").replace("draws: 10000", "draws: 1e3")
    params = read_params(changed, "params.yaml")
    assert (params.network.train.weight_decay, params.compare.bootstrap_draws) == (1e-5, 1000)
    for changed in (text.replace("seed: 0", "seed: 010"), text.replace("taus: [-1.0", "taus: [-01")):
        with pytest.raises(
            UserError, match=r"line \d+: .* has -?0\d+, which some readers of YAML take for an octal number"
        ):
            read_params(changed, "params.yaml")


def test_the_ui_of_a_server_is_the_servers_own(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    result = CliRunner().invoke(cli.main, ["ui"])
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "open http://127.0.0.1:9 in a browser" in result.stderr


def test_addresses_that_mlflow_would_misread_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "localhost:5000")
    with pytest.raises(UserError, match="'localhost:5000', which has no scheme; expected http://HOST:PORT"):
        store_uri(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    for name in ("why?", "a%20b"):
        (tmp_path / name / ".dvc").mkdir(parents=True)
        with pytest.raises(UserError, match="MLflow takes another file for its store"):
            store_uri(tmp_path / name)
        shutil.rmtree(tmp_path / name)
    (tmp_path / "é # x" / ".dvc").mkdir(parents=True)
    assert store_uri(tmp_path / "é # x").startswith("sqlite:///")


def test_the_end_of_a_long_reason_stays():
    with pytest.raises(UserError, match=r"a a .* \.\.\. .*connection refused"), clear_errors("http://x"):
        raise OSError("a " * 400 + "connection refused")
