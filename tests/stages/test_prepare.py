"""The stage writes one image set from an archive or the generator, whole or not at all."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from presets import preset
from small_sets import class_folders, picture, write_files
from tiny_fer2013 import kaggle_files, kaggle_zip, png

from emobench.errors import UserError
from emobench.faces.card import images_digest
from emobench.faces.imageset import INDEX_COLUMNS, load_imageset
from emobench.faces.sources import source_images
from emobench.faces.synthetic.faces import synthesize
from emobench.layout import Layout
from emobench.params import Params
from emobench.settings.data import Audit, Drawn, Faces, Fer2013
from emobench.stages import prepare
from emobench.stages.prepare import run
from emobench.vocabulary import concept_set
from emobench.vocabulary.card import load_vocabulary

DEMO = Path(__file__).parents[2] / "emobench" / "presets" / "demo.yaml"


def params_with(concept_sets=("emotions", "expressions"), **data) -> Params:
    params = replace(preset(), concept_sets=list(concept_sets))
    if "source" not in data:
        return replace(params, data=replace(params.data, **data))
    given = {"limit": 0, "audit": Audit(3, False), "classes": [], "size": 48, "channels": 1} | data
    own = Fer2013(labels="file", **given) if data["source"] == "fer2013" else Faces(**given)
    return replace(params, data=own)


def outputs(layout: Layout) -> list[str]:
    return sorted(path.relative_to(layout.root).as_posix() for path in layout.root.rglob("*") if path.is_file())


def test_synthetic(tmp_path) -> None:
    layout = Layout("demo", tmp_path)
    run(params_with(synthetic=Drawn(30, 20, 10, 0.5, "")), layout)
    imageset = load_imageset(layout.data)
    faces = synthesize(60, 0, label_noise=0.5)
    np.testing.assert_array_equal(imageset.images, faces.images)
    np.testing.assert_array_equal(imageset.labels, faces.labels)
    assert tuple(imageset.index.columns) == INDEX_COLUMNS
    assert imageset.index["image_id"].tolist() == [f"synthetic/{row:06d}" for row in range(60)]
    assert imageset.index["split"].tolist() == ["train"] * 30 + ["val"] * 20 + ["test"] * 10
    assert imageset.kept.all()
    truth = pd.read_parquet(layout.data / "truth.parquet")
    assert truth.columns.tolist() == ["image_id", *concept_set("expressions")]
    pd.testing.assert_frame_equal(truth.iloc[:, 1:], faces.truth)
    assert outputs(layout) == [
        "artifacts/demo/removed.png",
        "data/demo/dataset.json",
        "data/demo/images.npy",
        "data/demo/index.parquet",
        "data/demo/truth.parquet",
        "data/demo/vocabulary.json",
        "reports/demo/audit.json",
    ]


def test_limit_keeps_images_and_truth_together(tmp_path) -> None:
    layout = Layout("demo", tmp_path)
    run(params_with(synthetic=Drawn(60, 20, 20, 0.0, ""), limit=40), layout)
    imageset = load_imageset(layout.data)
    truth = pd.read_parquet(layout.data / "truth.parquet")
    faces = synthesize(100, 0, label_noise=0.0)
    rows = [int(name.removeprefix("synthetic/")) for name in imageset.index["image_id"]]
    assert len(rows) == 40
    assert truth["image_id"].tolist() == imageset.index["image_id"].tolist()
    np.testing.assert_array_equal(imageset.images, faces.images[rows])
    np.testing.assert_array_equal(truth.iloc[:, 1:].to_numpy(), faces.truth.to_numpy()[rows])
    audit = json.loads((layout.reports / "audit.json").read_text())
    assert (audit["limited"], audit["limit"], audit["images"]["total"]) == (1, 40, 40)


def test_fer2013_archive(tmp_path) -> None:
    black = png(np.zeros((48, 48), np.uint8))
    archive = kaggle_zip(tmp_path / "archive.zip", **{"train/happy/Training_1.png": black})
    layout = Layout("small", tmp_path / "out")
    run(params_with(source="fer2013", input=str(archive), audit=Audit(3, True)), layout)
    imageset = load_imageset(layout.data)
    files = kaggle_files() | {"train/happy/Training_1.png": np.zeros((48, 48), np.uint8)}
    for image, image_id in zip(imageset.images, imageset.index["image_id"], strict=True):
        np.testing.assert_array_equal(image, files[image_id])
    removed = imageset.index[~imageset.kept]
    assert removed[["image_id", "reason"]].to_numpy().tolist() == [["train/happy/Training_1.png", "blank"]]
    assert pd.read_parquet(layout.data / "truth.parquet").columns.tolist() == ["image_id"]
    audit = json.loads((layout.reports / "audit.json").read_text())
    assert (audit["limited"], audit["removed"]["train"], audit["images"]["total"]) == (0, 1, 22)


def test_a_bad_archive_writes_nothing(tmp_path) -> None:
    archive = kaggle_zip(tmp_path / "archive.zip", **{"train/happy/Training_1.png": b"no picture"})
    layout = Layout("small", tmp_path / "out")
    with pytest.raises(UserError, match="can't be decoded"):
        run(params_with(source="fer2013", input=str(archive)), layout)
    assert not layout.root.exists()


def test_a_full_disk_leaves_no_half_written_file(tmp_path, monkeypatch) -> None:
    def full(file, array, **options) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    layout = Layout("demo", tmp_path)
    with pytest.raises(OSError, match="No space left"):
        run(params_with(synthetic=Drawn(5, 5, 5, 0.0, "")), layout)
    assert outputs(layout) == []


def test_a_folder_in_colour_with_subjects_unknown(tmp_path) -> None:
    folder = write_files(tmp_path / "faces", class_folders(("",), ("anger", "happy", "bored"), each=12))
    layout = Layout("mine", tmp_path / "out")
    run(params_with(source="folder", input=str(folder), size=32, channels=3), layout)
    imageset = load_imageset(layout.data)
    assert imageset.images.shape == (36, 32, 32, 3)
    assert isinstance(imageset.images, np.memmap)
    assert imageset.classes == ("angry", "happy", "bored")
    card = imageset.card
    assert (card.size, card.channels, card.source, card.private) == (32, 3, "folder: faces", True)
    assert (card.limited, card.groups, sum(card.counts.values())) == (False, False, 36)
    assert card.counts == imageset.index["split"].value_counts().to_dict()
    assert card.digest == images_digest(imageset.images, imageset.index)
    audit = json.loads((layout.reports / "audit.json").read_text())
    assert audit["classes"]["train"]["bored"] > 0
    assert audit["said"][0] == "classes by synonym: anger is angry"
    assert any("no splits: 80 % train" in line for line in audit["said"])
    assert any(line.startswith("warning: subjects are unknown") for line in audit["said"])


def test_a_table_with_subjects(tmp_path) -> None:
    rows = [f"{k}.png,{'happy' if k % 2 else 'sad'},p{k // 4}" for k in range(40)]
    files = {f"{k}.png": picture(k) for k in range(40)} | {"t.csv": "\n".join(["file,label,subject", *rows])}
    layout = Layout("mine", tmp_path / "out")
    run(params_with(source="table", input=str(write_files(tmp_path / "faces", files))), layout)
    imageset = load_imageset(layout.data)
    assert imageset.index.columns.tolist() == [*INDEX_COLUMNS, "group"]
    assert imageset.index.groupby("group")["split"].nunique().max() == 1
    assert imageset.index["group"].nunique() == 10
    assert imageset.card.groups


def test_placeholders_of_other_sets_stay_unless_asked_for(tmp_path) -> None:
    black = png(np.zeros((48, 48, 3), np.uint8))
    files = class_folders(("train", "val", "test"), ("happy", "sad")) | {"train/sad/black.png": black}
    folder = write_files(tmp_path / "faces", files)
    for wanted in (False, True):
        layout = Layout("mine", tmp_path / f"out{wanted}")
        run(params_with(source="folder", input=str(folder), channels=3, audit=Audit(3, wanted)), layout)
        assert (~load_imageset(layout.data).kept).sum() == int(wanted)
        with Image.open(layout.artifacts / "removed.png") as sheet:
            assert sheet.mode == "RGB"


def with_concepts(root: Path, text: str) -> list[str]:
    (root / "concepts").mkdir(parents=True)
    (root / "concepts" / "mine.csv").write_text(text)
    return ["emotions", "expressions", "concepts/mine.csv"]


def test_the_vocabulary_is_of_the_classes_that_the_pictures_have(tmp_path) -> None:
    folder = write_files(tmp_path / "faces", class_folders(("",), ("anger", "happy", "bored"), each=12))
    names = with_concepts(tmp_path / "out", "concept,classes\nyawn,bored\nfist,anger\nhat,\n")
    layout = Layout("mine", tmp_path / "out")
    run(params_with(names, source="folder", input=str(folder)), layout)
    vocabulary = load_vocabulary(layout.data)
    assert vocabulary.classes == load_imageset(layout.data).classes == ("angry", "happy", "bored")
    assert vocabulary.speaks("mine") == {"yawn": ("bored",), "fist": ("angry",), "hat": ()}
    assert vocabulary.concepts("emotions") == ("angry", "happy", "bored")
    assert vocabulary.speaks("expressions")["smile"] == ("happy",)
    assert vocabulary.speaks("expressions")["frown"] == (), "nobody is sad"


@pytest.mark.parametrize("stated", [[], ["angry", "happy", "bored"]])
def test_a_class_of_the_map_that_the_data_lack_stops_before_work(tmp_path, monkeypatch, stated) -> None:
    folder = write_files(tmp_path / "faces", class_folders(("",), ("anger", "happy", "bored"), each=12))
    names = with_concepts(tmp_path / "out", "concept,classes\nyawn,tired\n")
    asked = []
    monkeypatch.setattr(prepare, "source_images", lambda *args: (asked.append(args), source_images(*args))[1])
    params = params_with(names, source="folder", input=str(folder), classes=stated)
    with pytest.raises(UserError, match="class in concepts/mine.csv, concept 'yawn': 'tired'; known: angry"):
        run(params, Layout("mine", tmp_path / "out"))
    assert len(asked) == (not stated), "where the classes are stated no picture is read"
    assert not (tmp_path / "out" / "data").exists()
