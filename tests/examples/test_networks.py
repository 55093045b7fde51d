"""Two published networks, brought as a user would: own file, published weights, FER2013's val images.

Of all 7,178 val and test images their committed reports tell (reports/reference/)."""

import io
import runpy
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emobench.networks.sources import build_network, load_network, save_network
from emobench.sweeps.suffix import SuffixEvaluator
from emobench.vocabulary.class_names import canonical_class

EXAMPLES = Path(__file__).parents[2] / "examples" / "networks"
SHARED = Path(__file__).parents[3] / "shared"
NETWORKS = {
    "mini_xception.py:mini_xception": {
        "published": "mini_xception.hdf5",
        "classes": ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
        "right": (2343, 3),
        "layers": ("conv2", "blocks.3.second.pointwise"),
    },
    "face_api.py:face_expression": {
        "published": "face_expression_model-weights_manifest.json",
        "classes": ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised"),
        "right": (2072, 6),
        "layers": ("dense0.conv0.full", "dense3.conv3.pointwise"),
    },
}  # fmt: skip
SLOW = [pytest.mark.slow, pytest.mark.real]


def converted(name: str, folder: Path, monkeypatch) -> Path:
    """The published weights as the example's own program writes them."""
    path = folder / "weights.safetensors"
    source = SHARED / "networks" / NETWORKS[name]["published"]
    monkeypatch.setattr(sys, "argv", ["convert", str(source), str(path)])
    runpy.run_path(str(EXAMPLES / name.partition(":")[0]), run_name="__main__")
    return path


def test_images() -> tuple[np.ndarray, list[str]]:
    """The 3,589 pictures of PublicTest, uint8, and the names of their classes."""
    pictures, names = [], []
    with zipfile.ZipFile(SHARED / "fer2013" / "archive.zip") as archive:
        for name in sorted(archive.namelist()):
            if Path(name).name.startswith("PublicTest_"):
                pictures.append(np.asarray(Image.open(io.BytesIO(archive.read(name)))))
                names.append(Path(name).parent.name)
    return np.stack(pictures), names


test_images.__test__ = False


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW) for name in NETWORKS])
def test_a_published_network_gets_right_what_was_published(name, tmp_path, monkeypatch) -> None:
    known = NETWORKS[name]
    if not (SHARED / "networks" / known["published"]).is_file():
        pytest.skip("needs the published weights in ../shared/networks")
    weights = converted(name, tmp_path, monkeypatch)
    network = build_network(f"{EXAMPLES}/{name}", {}, weights, classes=known["classes"])
    images, names = test_images()
    answers = network.logits(images).argmax(1).tolist()
    words = [canonical_class(word) for word in known["classes"]]
    right, within = known["right"]
    assert abs(sum(words[answer] == label for answer, label in zip(answers, names, strict=True)) - right) <= within
    inputs = network.inputs(images[:4])
    for layer in known["layers"]:
        at = SuffixEvaluator(network, layer, inputs)
        with torch.inference_mode():
            torch.testing.assert_close(at.unedited(), network.model(inputs), rtol=1e-4, atol=1e-5)
        assert (at.logits(torch.zeros(at.units)) != at.unedited()).any()
    save_network(network, tmp_path / "saved")
    assert torch.equal(load_network(tmp_path / "saved").logits(images[:4]), network.logits(images[:4]))
