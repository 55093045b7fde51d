"""A small CLIP trained on one image set with composed captions.

The loss is SigLIP's (Zhai et al. 2023, arXiv:2303.15343: one yes-or-no question for every image and caption of a
batch), with the fit of each caption to each image as the answer instead of "same pair": many images share a caption.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch.nn import functional as F

from emobench.concepts.captions import CaptionWriter, fit
from emobench.concepts.clip import FULL_VOCABULARY, build, to_inputs
from emobench.concepts.ranking import rank_concepts
from emobench.device import autocast, cores_for
from emobench.errors import UserError
from emobench.faces.augmentation import augment
from emobench.faces.scaling import unit_range
from emobench.files import replacing
from emobench.progress import progress
from emobench.settings.concepts import ClipTraining
from emobench.weights import kept_state

CONTEXT_LENGTH = 24
"""Tokens of a caption: the longest composed ones have fewer."""
LOGIT_SCALE, LOGIT_BIAS = 10.0, -2.0
MAX_LOGIT_SCALE = 30.0
"""Upper bound on the learnt scale: the lower it is, the more the cosines themselves must tell concepts apart, which is
what soft_wpmi (a = 10) reads."""


@dataclass(frozen=True)
class ScoredImages:
    """Some rows of stored pictures, and their score table (rows, names), see emobench.concepts.captions.

    The pictures are uint8 (n, height, width) or (n, height, width, 3), may be mapped, and are read batch by batch.
    """

    images: np.ndarray
    rows: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def pictures(self, places: Any) -> torch.Tensor:
        """Pictures of some of the rows, float32 (places, channels, height, width) in [0, 1]."""
        return unit_range(self.images[self.rows[places]])


def model_config(params: ClipTraining) -> dict[str, Any]:
    """The ``model_cfg`` of the CLIP that is trained: open_clip's ResNet with one block a stage, short texts.

    Raises:
        UserError: a width that its attention heads don't divide.
    """
    for name, width, step in (("image_width", params.image_width, 2), ("text_width", params.text_width, 32)):
        if width % step:
            raise UserError(f"params: clip.training.{name} is {width}; expected a multiple of {step}")
    return {
        "embed_dim": params.embed_dim,
        "vision_cfg": {"image_size": params.image_size, "layers": [1, 1, 1, 1], "width": params.image_width},
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": FULL_VOCABULARY,
            "width": params.text_width,
            "heads": params.text_width // 32,
            "layers": params.text_layers,
        },
        "init_logit_scale": float(np.log(LOGIT_SCALE)),
        "init_logit_bias": LOGIT_BIAS,
    }


class ClipTrainer:
    """One training run; ``fit`` goes on from the last finished epoch where a checkpoint is found.

    The captions use about a hundred of the tokenizer's 49,408 tokens: only those have embeddings while training.
    """

    def __init__(
        self,
        params: ClipTraining,
        writer: CaptionWriter,
        train: ScoredImages,
        val: ScoredImages,
        preprocess: Mapping[str, Any],
        *,
        seed: int,
        device: str = "cpu",
    ) -> None:
        self.params, self.writer, self.train, self.val = params, writer, train, val
        self.preprocess, self.seed, self.device = preprocess, seed, device
        self.tokenizer = open_clip.SimpleTokenizer(context_length=CONTEXT_LENGTH)
        self.tokens = self.tokenizer(writer.texts()).unique()
        config = model_config(params)
        config["text_cfg"]["vocab_size"] = len(self.tokens)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # Any: the type checker takes what open_clip's models are asked for (encode_image, ...) for tensors.
            self.model: Any = build(config).to(device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.model, params.weight_decay), lr=params.max_lr, fused=True
        )
        self.batch_size = min(params.batch_size, len(train))
        self.steps = len(train) // self.batch_size
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, params.max_lr, epochs=params.epochs, steps_per_epoch=self.steps, pct_start=0.2
        )
        self.history: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] = {}

    def fit(self, checkpoints: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
        """Trains to the last epoch.

        Args:
            checkpoints: folder for ``last.pt``; what is there must come from the same params, images and seed.

        Returns:
            The state dict, with the full vocabulary, of the epoch with the best mean AUROC on val; and the history.
        """
        self._resume(checkpoints / "last.pt")
        start = len(self.history)
        total = (self.params.epochs - start) * self.steps
        with cores_for(self._forward), progress(total=total, desc="train clip", unit="batch") as bar:
            for epoch in range(start, self.params.epochs):
                loss = self._run_epoch(epoch, bar)
                self._finish_epoch(epoch, loss)
                self._save(checkpoints / "last.pt")
                bar.set_postfix(val_auroc=f"{self.history[-1]['val_auroc']:.3f}")
        return self._full_vocabulary(self.best), self.history

    def _forward(self) -> None:
        """The image tower's pass of one batch, which changes nothing: the texts are short."""
        self.model.eval()
        inputs = to_inputs(self.train.pictures(slice(0, self.batch_size)), self.preprocess)
        self.model.encode_image(inputs.to(self.device, memory_format=torch.channels_last))

    def _run_epoch(self, epoch: int, bar: Any) -> float:
        """One pass over the train images; returns the mean loss. Its randomness depends on seed and epoch alone."""
        rng = np.random.default_rng((self.seed, epoch))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        order, total = rng.permutation(len(self.train)), 0.0
        self.model.train()
        for step in range(self.steps):
            rows = np.sort(order[step * self.batch_size : (step + 1) * self.batch_size])
            total += self._step(rows, rng, generator)
            bar.update()
        return total / self.steps

    def _step(self, rows: np.ndarray, rng: np.random.Generator, generator: torch.Generator) -> float:
        """One batch: captions, forward, backward, update."""
        captions = self.writer.batch(self.train.scores[rows], self.params.captions, rng)
        targets, known = (torch.from_numpy(part).to(self.device) for part in fit(self.train.scores[rows], captions))
        pictures = self.train.pictures(rows)
        inputs = to_inputs(augment(pictures, self.params.augment, generator), self.preprocess)
        inputs = inputs.to(self.device, memory_format=torch.channels_last)
        with autocast(self.device, self.params.precision):
            seen = self.model.encode_image(inputs)
            said = self.model.encode_text(self._tokenize([caption.text for caption in captions]))
        cosines = F.normalize(seen.float(), dim=-1) @ F.normalize(said.float(), dim=-1).T
        logits = self.model.logit_scale.exp() * cosines + self.model.logit_bias
        loss = F.binary_cross_entropy_with_logits(logits, targets, known.float())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, float(np.log(MAX_LOGIT_SCALE)))
        return loss.item()

    def _tokenize(self, texts: list[str]) -> torch.Tensor:
        """Tokens as positions in ``self.tokens``: sorted, so that the last of the vocabulary still ends a text."""
        return torch.searchsorted(self.tokens, self.tokenizer(texts)).to(self.device)

    @torch.inference_mode()
    def val_cosines(self) -> np.ndarray:
        """Cosines (val images, names) of the model as it is with every name as a bare text."""
        self.model.eval()
        said = self.model.encode_text(self._tokenize([*self.writer.concepts, *self.writer.emotions]), normalize=True)
        parts = []
        for start in range(0, len(self.val), 64):
            inputs = to_inputs(self.val.pictures(slice(start, start + 64)), self.preprocess)
            inputs = inputs.to(self.device, memory_format=torch.channels_last)
            parts.append(self.model.encode_image(inputs, normalize=True) @ said.T)
        return torch.cat(parts).float().cpu().numpy()

    def _finish_epoch(self, epoch: int, train_loss: float) -> None:
        """Scores val, appends to the history, keeps the weights if they are the best so far."""
        names = len(self.writer.concepts) or len(self.writer.emotions)
        table = rank_concepts(self.val_cosines()[:, :names], self.val.scores[:, :names])
        auroc = float(table["auroc"].mean()) if table["auroc"].notna().any() else 0.5
        if not np.isfinite(train_loss):
            raise UserError(
                f"clip: training diverged in epoch {epoch + 1}, the loss is not finite; lower clip.training.max_lr"
            )
        # Where val is too small to judge any concept, all epochs tie and the lowest loss decides.
        previous = max(((row["val_auroc"], -row["train_loss"]) for row in self.history), default=(-1.0, 0.0))
        if (auroc, -train_loss) > previous:
            self.best = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
        self.history.append({"epoch": epoch + 1, "train_loss": train_loss, "val_auroc": auroc})

    def _full_vocabulary(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The state dict with the trained token embeddings at their own places among all; the others are zero."""
        trained = state["token_embedding.weight"]
        table = torch.zeros(FULL_VOCABULARY, trained.shape[1])
        table[self.tokens] = trained
        return {**state, "token_embedding.weight": table}

    def _save(self, path: Path) -> None:
        """Writes all that a resumed run needs."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "schedule")}
        with replacing(path) as temporary:
            torch.save({**parts, "history": self.history, "best": self.best}, temporary)

    def _resume(self, path: Path) -> None:
        """Takes up an interrupted run if its checkpoint is there."""
        if (state := kept_state(path, self.device)) is None:
            return
        for name in ("model", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.history, self.best = state["history"], state["best"]


def _parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices and filters only: not on biases, norms, scales and embeddings."""
    spare = ("embedding", "logit_")
    decayed = {
        name: value.ndim > 1 and not any(part in name for part in spare) for name, value in model.named_parameters()
    }
    return [
        {
            "params": [value for name, value in model.named_parameters() if decayed[name] == wanted],
            "weight_decay": decay,
        }
        for wanted, decay in ((True, weight_decay), (False, 0.0))
    ]
