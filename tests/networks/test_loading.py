import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from emobench.errors import UserError
from emobench.networks.loading import load_network, save_network, to_inputs
from emobench.networks.vggnet import VGGNet


def tiny() -> VGGNet:
    torch.manual_seed(0)
    return VGGNet(width=1 / 16).eval()


def test_published_form_and_safetensors_give_the_same_network(tmp_path) -> None:
    model = tiny()
    torch.save({"params": model.half().state_dict(), "logs": {"epochs": 3}}, tmp_path / "VGGNet")
    loaded = load_network(tmp_path / "VGGNet")
    save_network(loaded.model, tmp_path / "copy.safetensors")
    again = load_network(tmp_path / "copy.safetensors")
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    first, second = (network.model(network.transform(images)) for network in (loaded, again))
    assert torch.equal(first, second)
    assert loaded.layers[-1] == "lin3"
    assert loaded.class_names[0] == "angry"
    assert loaded.model.lin2.weight.shape == (256, 256)
    assert not loaded.model.training


def test_to_inputs_scales_and_resizes() -> None:
    inputs = to_inputs(np.full((2, 48, 48), 255, np.uint8))
    assert inputs.shape == (2, 1, 40, 40)
    assert torch.allclose(inputs, torch.ones(()))


def test_a_pickle_that_would_run_code_is_refused(tmp_path) -> None:
    torch.save({"params": print}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="is not a weights file"):
        load_network(tmp_path / "evil.pt")


def spoilt(change) -> dict[str, torch.Tensor]:
    state = tiny().state_dict()
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("bn1a.bias"), "missing keys: bn1a.bias"),
        (lambda state: state.update(fc=torch.ones(1)), "unexpected keys: fc"),
        (lambda state: state.update({"lin3.bias": torch.ones(8)}), r"wrong shapes: lin3.bias \(8,\), expected \(7,\)"),
        (lambda state: state["lin1.bias"].fill_(torch.nan), "not finite: lin1.bias"),
    ],
)
def test_a_wrong_network_is_named(tmp_path, change, message) -> None:
    save_file(spoilt(change), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=message):
        load_network(tmp_path / "w.safetensors")


@pytest.mark.parametrize(("name", "content"), [("w.safetensors", b"no"), ("w.pt", b"no"), ("w.pt", b"")])
def test_a_file_of_something_else_is_named(tmp_path, name, content) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"w\.\w+ is not a weights file"):
        load_network(tmp_path / name)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_torn_checkpoint_is_named(tmp_path, kept) -> None:
    torch.save({"params": tiny().state_dict()}, tmp_path / "w.pt")
    content = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match="w.pt is not a weights file"):
        load_network(tmp_path / "w.pt")


def test_missing_file_and_a_file_without_weights(tmp_path) -> None:
    with pytest.raises(UserError, match="no weights file"):
        load_network(tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UserError, match="holds no state dict"):
        load_network(tmp_path / "list.pt")


@pytest.mark.parametrize("width", [0.05, 0.3, 1 / 32])
def test_the_width_is_read_off_the_weights(tmp_path, width) -> None:
    save_network(VGGNet(width), tmp_path / "w.safetensors")
    model = load_network(tmp_path / "w.safetensors").model
    assert model.conv4b.weight.shape[0] == round(512 * width)
