import numpy as np
import pytest
import torch

from emobench.errors import UserError
from emobench.files import write_json
from emobench.networks.loading import to_inputs
from emobench.networks.recording import load_activations, noisy, record_arrays, record_folder, recorded
from emobench.networks.vggnet import VGGNet
from emobench.params import LAYERS


@pytest.fixture(scope="module")
def model() -> VGGNet:
    torch.manual_seed(0)
    return VGGNet(width=1 / 16).eval()


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


def test_batches_are_joined_and_hooks_are_gone_after_an_error(model) -> None:
    with pytest.raises(ZeroDivisionError), recorded(model, ["lin2"]) as recording, torch.no_grad():
        model(torch.rand(2, 1, 40, 40))
        model(torch.rand(3, 1, 40, 40))
        assert recording["lin2"].shape == (5, 256)
        raise ZeroDivisionError
    assert not any(module._forward_hooks for module in model.modules())


def test_unknown_layers_leave_no_hook(model) -> None:
    with pytest.raises(UserError, match="unknown layer 'lin9'; known: conv1a"), recorded(model, ["lin1", "lin9"]):
        pass
    assert not model.lin1._forward_hooks
    with recorded(model, ["lin1"]) as recording, pytest.raises(UserError, match="recorded layer 'lin2'; known: lin1"):
        recording["lin2"]
    with pytest.raises(RuntimeError, match="has not run"):
        recording["lin1"]


def test_record_arrays_does_not_depend_on_the_batch_size(model, tmp_path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 48, 48), np.uint8)
    results = []
    for size in (3, 7):
        arrays = {name: np.zeros((7, getattr(model, name).weight.shape[0]), np.float32) for name in LAYERS}
        record_arrays(model, to_inputs, images, arrays, pool="avg", batch_size=size)
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


def test_a_recording_of_some_images_is_read_by_their_numbers(model, tmp_path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 48, 48), np.uint8)
    rows, source, options = np.array([1, 3, 4, 6]), {"images_digest": "abc"}, {"pool": "avg", "batch_size": 4}
    record_folder(tmp_path / "all", model, to_inputs, images, ["conv4b", "lin1"], source, **options)
    record_folder(tmp_path / "some", model, to_inputs, images, ["conv4b", "lin1"], source, rows=rows, **options)
    assert np.load(tmp_path / "some" / "lin1.npy").shape == (4, 256)
    for layer in ("conv4b", "lin1"):
        wanted = np.array([6, 1, 4])
        every, some = (load_activations(tmp_path / name, layer, "abc", wanted) for name in ("all", "some"))
        assert torch.allclose(every, some, atol=2e-6)
        assert len(every.unique(dim=0)) == 3
    with pytest.raises(UserError, match=r"some lacks 2 of the 3 images wanted \(the first is image 0\); it has 4: run"):
        load_activations(tmp_path / "some", "lin1", "abc", np.array([0, 1, 5]))


def test_noise_is_seeded_and_of_the_wanted_size() -> None:
    images = np.full((40, 48, 48), 128, np.uint8)
    plain = to_inputs(images)
    first, again, other = (noisy(to_inputs, 0.02, seed)(images) - plain for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.std().item() == pytest.approx(0.02, rel=0.02)
    assert abs(first.mean().item()) < 1e-3
