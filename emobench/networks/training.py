"""Training a network: SGD with a one-cycle schedule, mixed precision, and checkpoints that allow resuming."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from emobench.device import autocast, cores_for
from emobench.errors import UserError
from emobench.faces.augmentation import augment
from emobench.files import replacing
from emobench.networks.network import Network
from emobench.networks.transform import as_floats, prepared
from emobench.progress import progress
from emobench.settings.network import NetworkTraining
from emobench.weights import kept_state


@dataclass(frozen=True)
class Examples:
    """Some rows of pictures uint8 (n, height, width) or (n, height, width, 3), and labels (n,) int64 of all of them."""

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray


class Trainer:
    """One training run; ``fit`` goes on from the last finished epoch where a checkpoint is found."""

    def __init__(
        self, params: NetworkTraining, network: Network, train: Examples, val: Examples, *, seed: int, device: str
    ) -> None:
        self.params, self.train, self.val, self.seed, self.device = params, train, val, seed, device
        self.model = network.model.to(device).to(memory_format=torch.channels_last)
        self.network = Network(self.model, network.card)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=params.max_lr,
            momentum=params.momentum,
            weight_decay=params.weight_decay,
            nesterov=params.momentum > 0,  # which needs one
        )
        # A last batch of one image would break BatchNorm: incomplete batches are dropped, the order changes each epoch.
        self.steps = max(1, len(train.rows) // params.batch_size)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, params.max_lr, epochs=params.epochs, steps_per_epoch=self.steps
        )
        self.history: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] = {}

    def fit(self, checkpoints: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
        """Trains to the last epoch.

        Args:
            checkpoints: folder for ``last.pt``; what is there must come from the same params, images and seed.

        Returns:
            The state dict of the epoch with the best val accuracy (ties: lower val loss), and the history.
        """
        self._resume(checkpoints / "last.pt")
        start = len(self.history)
        total = (self.params.epochs - start) * self.steps
        with cores_for(self._forward), progress(total=total, desc="train network", unit="batch") as bar:
            for epoch in range(start, self.params.epochs):
                loss = self._run_epoch(epoch, bar.update)
                self._finish_epoch(epoch, loss)
                self._save(checkpoints / "last.pt")
                bar.set_postfix(val_accuracy=f"{self.history[-1]['val_accuracy']:.3f}")
        return self.best, self.history

    def _forward(self) -> None:
        """The pass of one batch, which changes nothing."""
        self.model.eval()
        rows = self.train.rows[: self.params.batch_size]
        self.model(self.network.inputs(self.train.images[rows]))

    def _run_epoch(self, epoch: int, advance: Callable[[], object]) -> float:
        """One pass over the train images; returns the mean loss. Its randomness depends on seed and epoch alone."""
        generator = torch.Generator().manual_seed(self.seed + 7919 * (epoch + 1))
        order = torch.randperm(len(self.train.rows), generator=generator).numpy()
        size, total = min(self.params.batch_size, len(order)), 0.0
        self.model.train()
        # Dropout has no generator argument: it draws from torch's own state, which is put back afterwards.
        with torch.random.fork_rng():
            torch.manual_seed(self.seed + 7919 * (epoch + 1))
            for step in range(self.steps):
                total += self._step(self.train.rows[np.sort(order[step * size : (step + 1) * size])], generator)
                advance()
        return total / self.steps

    def _step(self, rows: np.ndarray, generator: torch.Generator) -> float:
        """One batch: forward, backward, update."""
        pictures = augment(as_floats(self.train.images[rows]), self.params.augment, generator)
        inputs = prepared(pictures, self.network.card.input).to(self.device, memory_format=torch.channels_last)
        labels = torch.from_numpy(self.train.labels[rows]).to(self.device)
        with autocast(self.device, self.params.precision):
            logits = self.model(inputs)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.params.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    def _finish_epoch(self, epoch: int, train_loss: float) -> None:
        """Scores val, appends to the history, keeps the weights if they are the best so far."""
        self.model.eval()
        logits = self.network.logits(self.val.images, self.val.rows)
        labels = torch.from_numpy(self.val.labels[self.val.rows])
        scores: dict[str, float] = {
            "epoch": epoch + 1,
            "train_loss": train_loss,
            "val_loss": F.cross_entropy(logits, labels).item(),
            "val_accuracy": (logits.argmax(1) == labels).float().mean().item(),
            "lr": float(self.schedule.get_last_lr()[0]),
        }
        if not np.isfinite([train_loss, scores["val_loss"]]).all():
            raise UserError(
                f"network: training diverged in epoch {epoch + 1}, the loss is not finite; "
                f"lower network.train.max_lr (now {self.params.max_lr})"
            )
        previous = max(((row["val_accuracy"], -row["val_loss"]) for row in self.history), default=(-1.0, 0.0))
        if (scores["val_accuracy"], -scores["val_loss"]) > previous:
            self.best = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
        self.history.append(scores)

    def _save(self, path: Path) -> None:
        """Writes all that a resumed run needs."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
            "best": self.best,
        }
        with replacing(path) as temporary:
            torch.save(state, temporary)

    def _resume(self, path: Path) -> None:
        """Takes up an interrupted run if its checkpoint is there."""
        if (state := kept_state(path, self.device)) is None:
            return
        for name in ("model", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.history, self.best = state["history"], state["best"]
