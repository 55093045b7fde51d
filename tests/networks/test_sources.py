import json
import os
import pickle
import re
import stat
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from emobench.errors import UserError
from emobench.networks.card import InputCard
from emobench.networks.sources import build_network, load_network, save_network
from emobench.networks.transform import input_card

SEVEN = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def pictures(count=3, side=48, colour=False):
    shape = (count, side, side, 3) if colour else (count, side, side)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def vggnet():
    return build_network("vggnet", {"width": 0.05}, classes=SEVEN)


def test_vggnet_takes_pictures_as_ever(vggnet):
    scaled = torch.from_numpy(pictures().astype(np.float32)).div_(255)[:, None]
    expected = F.interpolate(scaled, (40, 40), mode="bilinear", antialias=True, align_corners=False)
    assert torch.equal(vggnet.inputs(pictures()), expected)
    assert (vggnet.card.input.channels, vggnet.card.input.size) == (1, (40, 40))
    assert vggnet.card.agrees
    assert [layer.name for layer in vggnet.layers][-3:] == ["lin1", "lin2", "lin3"]


def test_colours_become_grey_and_grey_becomes_colours(vggnet):
    grey = np.repeat(pictures()[..., None], 3, axis=3)
    torch.testing.assert_close(vggnet.inputs(grey), vggnet.inputs(pictures()))
    network = build_network("deep_emotion", classes=SEVEN)
    inputs = network.inputs(pictures())
    assert torch.equal(inputs[:, 0], inputs[:, 2])
    assert inputs.shape == (3, 3, 48, 48)


def test_range_mean_std_and_crop():
    values = {"range": [-1, 1], "mean": [0.5], "std": [2.0], "crop": 0.5, "size": [40, 40]}
    network = build_network("vggnet", {"width": 0.05}, classes=SEVEN, input=values)
    images = pictures(side=80)
    expected = (images[:, 20:60, 20:60].astype(np.float32) / 255 * 2 - 1 - 0.5) / 2
    np.testing.assert_allclose(network.inputs(images)[:, 0], expected, atol=1e-6)


def test_what_is_saved_is_loaded_with_the_umask(tmp_path, vggnet):
    before = os.umask(0o027)
    try:
        save_network(vggnet, tmp_path / "network")
    finally:
        os.umask(before)
    loaded = load_network(tmp_path / "network")
    assert loaded.card == vggnet.card
    assert torch.equal(loaded.logits(pictures(), batch_size=2), vggnet.logits(pictures(), batch_size=2))
    assert stat.S_IMODE((tmp_path / "network/weights.safetensors").stat().st_mode) == 0o640
    assert set(os.listdir(tmp_path / "network")) == {"network.json", "weights.safetensors"}


def test_other_weights_than_the_cards_are_refused(tmp_path, vggnet):
    save_network(vggnet, tmp_path / "network")
    state = {name: value + 1 for name, value in vggnet.model.state_dict().items()}
    save_file(state, tmp_path / "network/weights.safetensors")
    with pytest.raises(UserError, match="are other weights than"):
        load_network(tmp_path / "network")
    (tmp_path / "network/network.json").write_text('{"architecture": "vggnet"}')
    with pytest.raises(UserError, match=r"network\.json is not a network's card"):
        load_network(tmp_path / "network")
    with pytest.raises(UserError, match=r"no .*network\.json"):
        load_network(tmp_path)


def test_the_same_seed_gives_the_same_weights(vggnet):
    state = torch.random.get_rng_state()
    again, other = (build_network("vggnet", {"width": 0.05}, classes=SEVEN, seed=seed) for seed in (0, 1))
    assert again.card.weights == vggnet.card.weights != other.card.weights
    assert torch.equal(torch.random.get_rng_state(), state)


USERS = """
import torch
class Own(torch.nn.Module):
    def __init__(self, classes, units):
        super().__init__()
        self.first, self.head = torch.nn.Linear(3 * 64, units), torch.nn.Linear(units, classes)
    def forward(self, x):
        return self.head(self.first(x.flatten(1)).relu())
def own(classes, units=4):
    return Own(classes, units), {"channels": 3, "size": (8, 8)}
def broken(classes):
    wrong = 1 / 0
def several(classes):
    class Both(Own):
        def forward(self, x):
            return {"features": x, "scores": super().forward(x)}
    return Both(classes, 4), {"channels": 3, "size": (8, 8)}
"""


@pytest.fixture
def users_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(USERS)
    return path


def logits_in_a_worker(network, images):
    torch.set_num_threads(1)
    return network.logits(images).numpy()


@pytest.mark.slow
def test_a_users_function_also_in_other_processes(users_file, tmp_path):
    network = build_network(f"{users_file}:own", {"units": 6}, classes=SEVEN)
    assert [(layer.name, layer.units) for layer in network.layers] == [("first", 6), ("head", 7)]
    save_network(network, tmp_path / "network")
    expected = network.logits(pictures())
    assert torch.equal(load_network(tmp_path / "network").logits(pictures()), expected)
    assert torch.equal(pickle.loads(pickle.dumps(network)).logits(pictures()), expected)
    (there,) = joblib.Parallel(n_jobs=2)([joblib.delayed(logits_in_a_worker)(network, pictures())])
    np.testing.assert_allclose(there, expected, atol=1e-6)


def test_one_of_several_outputs(users_file, tmp_path):
    with pytest.raises(UserError, match=r"a dict with features, scores, .* name one as network\.output"):
        build_network(f"{users_file}:several", classes=SEVEN)
    network = build_network(f"{users_file}:several", classes=SEVEN, output="scores")
    save_network(network, tmp_path / "network")
    assert load_network(tmp_path / "network").logits(pictures()).shape == (3, 7)


@pytest.mark.parametrize(
    ("architecture", "options", "said"),
    [
        ("timm/resnt18", {}, "timm has no architecture 'resnt18'; nearest: resnet18"),
        ("torchvision/resnet81", {}, "nearest: resnet18"),
        ("vggnett", {}, "unknown network architecture 'vggnett'; known: vggnet, deep_emotion, torchvision, timm"),
        ("vggnet", {"widht": 1}, "unexpected keyword argument 'widht'"),
        ("timm/resnet18", {"pretrained": True}, "nothing is downloaded"),
        ("nowhere.py:f", {}, r"no file nowhere\.py"),
        ("{file}:nix", {}, r"mine\.py has no function 'nix'"),
        ("{file}:broken", {}, r"mine\.py, line 12, in broken: wrong = 1 / 0: ZeroDivisionError: division by zero"),
    ],
)
def test_what_can_not_be_built(architecture, options, said, users_file):
    with pytest.raises(UserError, match=said):
        build_network(architecture.format(file=users_file), options, classes=SEVEN)


def test_an_export_is_loaded_only_with_its_digest(tmp_path):
    path, images = tmp_path / "net.pt2", torch.export.Dim.DYNAMIC
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 5), torch.nn.ReLU(), torch.nn.Linear(5, 7))
    exported = torch.export.export(model.eval(), (torch.rand(2, 3, 8, 8),), dynamic_shapes=({0: images},))
    torch.export.save(exported, path)
    card = {"channels": 3, "size": [8, 8]}
    with pytest.raises(UserError, match="loading a .pt2 file can run code that it carries; if you trust it") as caught:
        build_network(str(path), classes=SEVEN, input=card)
    digest = re.search(r"[0-9a-f]{64}", str(caught.value))[0]
    with pytest.raises(UserError, match="params say 00"):
        build_network(str(path), classes=SEVEN, input=card, digest="00")
    network = build_network(str(path), classes=SEVEN, input=card, digest=digest)
    inputs = network.inputs(pictures())
    torch.testing.assert_close(network.logits(pictures()), model(inputs))
    assert len(network.layers) == 2
    save_network(network, tmp_path / "network")
    torch.testing.assert_close(load_network(tmp_path / "network").logits(pictures()), model(inputs))


def test_inputs_and_outputs_that_do_not_fit():
    with pytest.raises(UserError, match=r"does not take \(3, 40, 40\): RuntimeError"):
        build_network("vggnet", {"width": 0.05}, classes=SEVEN, input={"channels": 3})
    with pytest.raises(UserError, match="puts out 7 numbers; expected 2: yes, no"):
        build_network("vggnet", {"width": 0.05, "classes": 7}, classes=("yes", "no"))
    with pytest.raises(UserError, match="network.picture has no sise; known: channels, size"):
        build_network("vggnet", {"width": 0.05}, classes=SEVEN, input={"sise": 3})
    with pytest.raises(UserError, match=r"network.picture.size is \(40,\); expected a side, or"):
        build_network("vggnet", {"width": 0.05}, classes=SEVEN, input={"size": [40]})
    with pytest.raises(UserError, match=r"network.picture.channels is 2; expected 1 \(grey\) or 3 \(RGB\)"):
        build_network("vggnet", {"width": 0.05}, classes=SEVEN, input={"channels": 2})
    with pytest.raises(
        UserError, match=r"network.picture.mean has 3 values for 1 channels; expected one, one a channel"
    ):
        build_network("vggnet", {"width": 0.05}, classes=SEVEN, input={"mean": [0.5, 0.5, 0.5]})
    with pytest.raises(UserError, match="vggnet does not fit: missing keys: .*; unexpected keys: nix"):
        build_network("vggnet", {"width": 0.05}, {"nix": torch.ones(1)}, classes=SEVEN)


def test_a_side_is_a_square_and_grey_has_the_mean_of_three_channels():
    usual = InputCard(channels=3, size=(224, 224), mean=(0.1, 0.2, 0.3), std=(0.2, 0.2, 0.5))
    card = input_card({"size": 48, "channels": 1}, usual)
    assert (card.size, card.channels) == ((48, 48), 1)
    assert card.mean == pytest.approx((0.2,))
    assert card.std == pytest.approx((0.3,))
    assert input_card({"channels": 1, "mean": [0.5]}, usual).mean == (0.5,)
    assert input_card(None, usual) == usual


def test_pictures_of_another_form_are_refused(vggnet):
    with pytest.raises(UserError, match=r"pictures are float64 \(3, 48\); expected uint8"):
        vggnet.inputs(np.zeros((3, 48)))


def test_the_accidental_dropout_is_found():
    assert build_network("deep_emotion", classes=SEVEN).card.agrees
    assert not build_network("deep_emotion", {"always": True}, classes=SEVEN).card.agrees


def test_the_card_is_plain_json(vggnet):
    card = json.loads(json.dumps(vggnet.card.to_json()))
    assert type(vggnet.card).from_json(card) == vggnet.card


@pytest.mark.slow
def test_pictures_made_by_blocks_are_known_again_in_another_process(vggnet):
    images, rows = pictures(6), np.array([0, 2, 5])
    here = vggnet.pictures(images, rows, "abc")
    command = "import pickle, sys; print(pickle.load(sys.stdin.buffer).key())"
    done = subprocess.run(
        [sys.executable, "-c", command], input=pickle.dumps(here), capture_output=True, check=True, env=os.environ
    )
    assert done.stdout.decode().strip() == here.key()
    assert "0x" not in here.key()
    others = [vggnet.pictures(images, rows[:2], "abc"), vggnet.pictures(images, rows, "other")]
    others.append(build_network("deep_emotion", classes=SEVEN).pictures(images, rows, "abc"))
    assert len({here.key(), *(other.key() for other in others)}) == 4
