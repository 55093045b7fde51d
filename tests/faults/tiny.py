"""A tiny benchmark of drawn faces, and a second one of files as a user brings them: each takes seconds a stage."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from processes import run
from ruamel.yaml import YAML

import emobench

PRESETS = Path(emobench.__file__).parent / "presets"
STAGES = ("prepare", "annotate", "network", "clip", "embed", "record", "dissect", "edit", "compare", "report", "track")
OWN_STAGES = ("prepare", "annotate", "network", "clip", "embed")
FEW = {
    "data": {"synthetic": {"train": 120, "val": 60, "test": 60, "label_noise": 0.1, "shortcut": ""}},
    "network": {"options": {"width": 0.125, "dropout": 0.2}, "layers": ["conv1a", "lin1", "lin2", "lin3"]},
    "network.train": {"epochs": 12, "batch_size": 20, "max_lr": 0.03},
    "network.train.augment": {"degrees": 0.0, "translate": 0.0, "scale": 0.0, "flip": 0.5, "erase": 0.0},
    "clip.training": {"epochs": 2, "captions": 4, "embed_dim": 32, "image_size": 32, "image_width": 8,
                      "text_width": 32},
    "dissect": {"similarity_fns": ["soft_wpmi", "wpmi"], "null_draws": 200, "resamples": 1, "coherence_images": 10},
    "dissect.soft_wpmi": {"top_k": 20},
    "edit": {"taus": [-0.5, 0.0, 0.5], "factors": [1.0, 1.5], "jobs": 1, "memory_gib": 1.0,
             "arms": ["similarity", "weight_norm", "accuracy"], "operations": ["rows"]},
    "edit.controls": {"draws": 10, "least": 5},
    "edit.search": {"kinds": ["free"], "joint": [], "joint_kinds": [], "penalties": [1.0], "exponents": [1.0],
                    "folds": 2, "steps": 3},
    "compare": {"bootstrap_draws": 100},
    "report": {"top_units": 2, "top_images": 2},
}  # fmt: skip
"""What is less than in the demo."""
OWN = {
    "data": {"source": "folder", "input": "data/raw/own.zip", "limit": 0, "classes": [], "size": 48, "channels": 1,
             "audit": {"near_duplicate_distance": 3, "placeholders": False}},
    "annotate": {"source": "file", "input": "data/raw/own.csv"},
    "clip": {"source": "checkpoint", "input": "data/raw/clip", "model": "", "image_mean": [], "image_std": [],
             "prompts": ["{}"], "batch_size": 64},
}  # fmt: skip


def write_params(root: Path, name: str = "tiny") -> None:
    """The demo's params with FEW of everything."""
    yaml = YAML()
    values = yaml.load((PRESETS / "demo.yaml").read_text())
    values["name"] = name
    for section, changes in FEW.items():
        inner = values
        for key in section.split("."):
            inner = inner[key]
        inner.update(changes)
    yaml.dump(values, root / "params.yaml")


def made(root: Path) -> Path:
    """Both benchmarks, all their stages run: below ``root``/tiny and ``root``/own."""
    tiny, own = root / "tiny", root / "own"
    for folder in (tiny, own):
        (folder / "data" / "raw").mkdir(parents=True)
        (folder / "data" / "raw" / "none").touch()
    write_params(tiny)
    _ran(tiny, STAGES)
    # Where all answers are the same, rows in another order would be the same results.
    predictions = np.load(tiny / "artifacts" / "tiny" / "predictions.npy")
    assert len(np.unique(predictions)) > 2, "the network learned too little to tell one picture from another"
    assert len(np.unique(predictions, axis=0)) > 2, "no edit changes an answer"
    write_own(own, tiny)
    _ran(own, OWN_STAGES)
    return root


def write_own(own: Path, tiny: Path) -> None:
    """The drawn faces as a user's zip of pictures, with a table, concepts, weights and an image-text model."""
    write_params(own, "own")
    index = pd.read_parquet(tiny / "data" / "tiny" / "index.parquet")
    images = np.load(tiny / "data" / "tiny" / "images.npy")
    truth = pd.read_parquet(tiny / "data" / "tiny" / "truth.parquet")
    raw, names = own / "data" / "raw", [f"{row.split}/{row.label}/{place:04d}.png" for place, row in index.iterrows()]
    classes = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    names = [f"{one.split('/')[0]}/{classes[int(one.split('/')[1])]}/{one.split('/')[2]}" for one in names]
    with zipfile.ZipFile(raw / "own.zip", "w") as archive:
        for name, pixels in zip(names, images, strict=True):
            with archive.open(name, "w") as file:
                Image.fromarray(pixels).save(file, "PNG")
    truth.assign(image_id=names)[["image_id", "smile", "frown", "closed eyes"]].to_csv(raw / "own.csv", index=False)
    shutil.copytree(tiny / "models" / "tiny" / "clip", raw / "clip")
    shutil.copyfile(tiny / "models" / "tiny" / "network" / "weights.safetensors", raw / "weights.safetensors")
    (own / "concepts").mkdir()
    (own / "concepts" / "mine.csv").write_text("concept,classes\nsmile,happy\nfrown,sad\nclosed eyes,\n")
    yaml = YAML()
    values = yaml.load((own / "params.yaml").read_text())
    values.update(OWN)
    train = values["network"].pop("train")
    del train
    values["network"].update(
        {"source": "weights", "input": "data/raw/weights.safetensors", "classes": [], "output": "", "sha256": ""}
    )
    values["concept_sets"] = ["emotions", "concepts/mine.csv"]
    values["edit"]["concept_set"] = "mine"
    yaml.dump(values, own / "params.yaml")


def _ran(folder: Path, stages: tuple[str, ...]) -> None:
    for stage in stages:
        done = run([stage], folder)
        assert done.code == 0, f"{stage}: {done.err}"
