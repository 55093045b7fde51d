import dataclasses

import numpy as np
import pytest
import torch
from small_network import small_vggnet

from emobench.errors import UserError
from emobench.files import write_json
from emobench.networks.activations import load_activations
from emobench.networks.network import Network
from emobench.networks.record_folder import record_arrays, record_folder
from emobench.networks.recording import recorded
from emobench.networks.vggnet import LAYERS, VGGNet


@pytest.fixture(scope="module")
def network() -> Network:
    return small_vggnet()


@pytest.fixture(scope="module")
def model(network) -> VGGNet:
    return network.model


def test_recorded_is_the_modules_output_pooled(model) -> None:
    images = torch.rand(5, 1, 40, 40)
    with recorded(model, ["conv1a", "lin1", "lin3"]) as recording, torch.no_grad():
        logits = model(images)
    with torch.no_grad():
        assert torch.allclose(recording["conv1a"], model.conv1a(images).mean(dim=(2, 3)), atol=1e-6)
    assert recording["lin1"].shape == (5, 256)
    assert torch.equal(recording["lin3"], logits)
    with recorded(model, ["conv1a"], pool="max") as recording, torch.no_grad():
        model(images)
        assert torch.equal(recording["conv1a"], model.conv1a(images).amax(dim=(2, 3)))


def test_batches_are_joined_and_the_model_is_as_before_after_an_error(model) -> None:
    with pytest.raises(ZeroDivisionError), recorded(model, ["lin2"]) as recording, torch.no_grad():
        model(torch.rand(2, 1, 40, 40))
        model(torch.rand(3, 1, 40, 40))
        assert recording["lin2"].shape == (5, 256)
        raise ZeroDivisionError
    assert not any(module._forward_hooks for module in model.modules())
    assert "forward" not in model.__dict__


def test_what_was_not_recorded_is_told(model) -> None:
    with recorded(model, ["lin1"]) as recording, pytest.raises(UserError, match="recorded layer 'lin2'; known: lin1"):
        recording["lin2"]
    with pytest.raises(RuntimeError, match="has not run"):
        recording["lin1"]


OPTIONS = {"pool": "avg", "tokens": "mean"}


def test_record_arrays_does_not_depend_on_the_batch_size(network) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 48, 48), np.uint8)
    results = []
    for size in (3, 7):
        arrays = {layer.name: np.zeros((7, layer.units), np.float32) for layer in network.layers}
        record_arrays(network, images, np.arange(7), arrays, batch_size=size, **OPTIONS)
        results.append(arrays)
    for name in LAYERS:
        np.testing.assert_allclose(results[0][name], results[1][name], atol=2e-6)
        assert np.ptp(results[0][name]) > 0


def test_activations_of_another_image_set_or_with_nan_are_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="run the stage 'record' first"):
        load_activations(tmp_path, "lin1", "abc", np.arange(2))
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.save(tmp_path / "lin1.npy", values)
    write_json(tmp_path / "source.json", {"images_digest": "abc"})
    assert load_activations(tmp_path, "lin1", "abc", np.array([2, 0])).tolist() == [[4, 5], [0, 1]]
    with pytest.raises(UserError, match="lin1.npy belongs to another image set"):
        load_activations(tmp_path, "lin1", "other", np.arange(2))
    values[1, 1] = np.inf
    np.save(tmp_path / "lin1.npy", values)
    with pytest.raises(UserError, match="lin1.npy has NaN or infinite activations"):
        load_activations(tmp_path, "lin1", "abc", np.arange(3))


def test_a_recording_of_some_images_is_read_by_their_numbers(network, tmp_path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 48, 48), np.uint8)
    rows, source, options = np.array([1, 3, 4, 6]), {"images_digest": "abc"}, {"batch_size": 4, **OPTIONS}
    record_folder(tmp_path / "all", network, images, ["conv4b", "lin1"], source, **options)
    record_folder(tmp_path / "some", network, images, ["conv4b", "lin1"], source, rows=rows, **options)
    assert np.load(tmp_path / "some" / "lin1.npy").shape == (4, 256)
    for layer in ("conv4b", "lin1"):
        wanted = np.array([6, 1, 4])
        every, some = (load_activations(tmp_path / name, layer, "abc", wanted) for name in ("all", "some"))
        assert torch.allclose(every, some, atol=2e-6)
        assert len(every.unique(dim=0)) == 3
    with pytest.raises(UserError, match=r"some lacks 2 of the 3 images wanted \(the first is image 0\); it has 4: run"):
        load_activations(tmp_path / "some", "lin1", "abc", np.array([0, 1, 5]))


def test_noise_is_seeded_and_of_the_wanted_size(network) -> None:
    images, rows, linear = np.full((40, 48, 48), 128, np.uint8), np.arange(40), torch.nn.Conv2d(1, 1, 1)
    linear.weight.data.fill_(1.0)
    card = dataclasses.replace(network.card, hooked=False)
    network = dataclasses.replace(network, model=torch.nn.Sequential(linear, torch.nn.Flatten()).eval(), card=card)

    def recorded_with(noise: float, seed: int) -> np.ndarray:
        found = {"0": np.zeros((40, 1), np.float32)}
        record_arrays(network, images, rows, found, batch_size=16, noise=noise, seed=seed, **OPTIONS)
        return found["0"][:, 0]

    plain = recorded_with(0.0, 0)
    first, again, other = (recorded_with(0.02, seed) - plain for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    # A mean over 40 x 40 pixels.
    assert first.std() == pytest.approx(0.02 / 40, rel=0.3)
