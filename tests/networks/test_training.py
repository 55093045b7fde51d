import dataclasses

import numpy as np
import pytest
import torch
from small_network import small_vggnet

from emobench.errors import UserError
from emobench.networks.sources import with_weights
from emobench.networks.training import Examples, Trainer
from emobench.settings.data import Augment
from emobench.settings.network import NetworkTraining

PARAMS = NetworkTraining(
    epochs=3, batch_size=16, max_lr=0.02, momentum=0.9, weight_decay=0.0005, label_smoothing=0.0, precision="float32",
    augment=Augment(5.0, 0.05, 0.05, 0.5, 0.2),
)  # fmt: skip


def easy(count: int, seed: int) -> Examples:
    """Brightness tells the class: 0 or 3."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count) * 3
    images = rng.integers(0, 120, (count, 48, 48)) + labels[:, None, None] * 40
    return Examples(images.astype(np.uint8), labels, np.arange(count))


def trainer(images: int = 64, **changes) -> Trainer:
    network = small_vggnet(1 / 32, seed=5)
    return Trainer(dataclasses.replace(PARAMS, **changes), network, easy(images, 0), easy(32, 1), seed=5, device="cpu")


def test_training_learns_and_the_best_epoch_is_returned(tmp_path) -> None:
    state, history = trainer(images=320, epochs=3).fit(tmp_path)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    best = max(history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    val = easy(32, 1)
    trained = with_weights(small_vggnet(1 / 32), state)
    accuracy = (trained.logits(val.images).argmax(1).numpy() == val.labels).mean()
    assert accuracy == pytest.approx(best["val_accuracy"])
    assert accuracy > 0.9


def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch) -> None:
    whole, _ = trainer().fit(tmp_path / "whole")
    finish = Trainer._finish_epoch

    def stop_in_second_epoch(self: Trainer, epoch: int, loss: float) -> None:
        if epoch == 1:
            raise KeyboardInterrupt
        finish(self, epoch, loss)

    monkeypatch.setattr(Trainer, "_finish_epoch", stop_in_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        trainer().fit(tmp_path / "parts")
    monkeypatch.setattr(Trainer, "_finish_epoch", finish)
    resumed, history = trainer().fit(tmp_path / "parts")
    assert len(history) == 3
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_same_seed_same_weights_and_no_global_random_state(tmp_path) -> None:
    before = torch.get_rng_state()
    first, _ = trainer(epochs=1).fit(tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), before)
    second, _ = trainer(epochs=1).fit(tmp_path / "b")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_diverging_run_says_so(tmp_path) -> None:
    with pytest.raises(UserError, match="diverged in epoch 1"):
        trainer(max_lr=1e12, epochs=1).fit(tmp_path)
