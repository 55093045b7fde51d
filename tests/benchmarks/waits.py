"""What users wait for, each as two functions: the tool, and a plain way to the same or what can't be done without.

Each part imports what it needs by itself: against another version of the package (bench-compare) a part that doesn't
run there doesn't take the others with it. Sizes are the demo's, images fewer.
"""

import copy
import dataclasses
import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

WIDTH, BATCH, STEPS = 0.25, 128, 6
CONCEPTS = ("smile", "frown", "closed eyes", "raised brows")
EMOTIONS = ("happy", "sad")


class Part(NamedTuple):
    """The plain way (``times`` of it are the whole) and the tool's."""

    plain: Callable[[], object]
    tool: Callable[[], object]
    times: float = 1.0


def changed(settings: Any, **values: Any) -> Any:
    """Settings with other values, whichever kind of class they are of."""
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        return dataclasses.replace(settings, **values)
    return settings.model_copy(update=values)


@functools.cache
def demo() -> Any:
    """The demo's params, of the package that is measured."""
    import emobench
    from emobench.params import load_params

    return load_params(Path(emobench.__file__).parent / "presets" / "demo.yaml")


@functools.cache
def faces(count: int) -> np.ndarray:
    """Drawn faces uint8 (count, 48, 48)."""
    from emobench.faces.synthetic.faces import synthesize

    return synthesize(count, seed=0).images


def labels(count: int) -> np.ndarray:
    """A class for each image (count,) int64."""
    return np.arange(count) % 7


def training(folder: Path, precision: str) -> Part:
    """An epoch of the network's training, its augmentation and its checkpoint included; against the bare network."""
    from small_network import new_network, small_vggnet

    from emobench.networks.training import Examples, Trainer

    settings = changed(demo().network.train, batch_size=BATCH, epochs=1, precision=precision)
    count = STEPS * BATCH
    train, val = (Examples(faces(count), labels(count), np.arange(rows)) for rows in (count, 2))
    network = new_network(WIDTH, 0.2, 0).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    inputs = torch.rand(BATCH, 1, 40, 40).to(memory_format=torch.channels_last)
    target, runs = torch.from_numpy(labels(BATCH)), itertools.count()

    def plain() -> None:
        for _ in range(STEPS):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                logits = network(inputs)
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(logits.float(), target).backward()
            optimizer.step()

    # A deep copy has its own weights; its card is the same, so that no graph is made in the measured time.
    untrained = small_vggnet(WIDTH)

    def ours() -> None:
        fresh = dataclasses.replace(untrained, model=copy.deepcopy(untrained.model))
        Trainer(settings, fresh, train, val, seed=0, device="cpu").fit(folder / str(next(runs)))

    return Part(plain, ours)


def recording(folder: Path) -> Part:
    """All layers recorded into files, the pictures made to inputs included; against the bare forward pass."""
    from small_network import small_vggnet

    from emobench.networks.record_folder import record_arrays

    count, network = 4 * 256, small_vggnet(WIDTH)
    network.channels_last()
    shapes = {layer.name: (count, layer.units) for layer in network.layers}
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, shape)
        for name, shape in shapes.items()
    }
    batches = torch.rand(count, 1, 40, 40).split(256)
    batches = [batch.to(memory_format=torch.channels_last) for batch in batches]
    images, rows = faces(count), np.arange(count)
    record = functools.partial(record_arrays, network, images, rows, arrays, pool="avg", tokens="mean", batch_size=256)
    return Part(lambda: forward(network.model, batches), record)


@torch.inference_mode()
def forward(call: Callable, batches: list[torch.Tensor]) -> None:
    """The bare forward pass."""
    for batch in batches:
        call(batch)


def clip_training(folder: Path, precision: str) -> Part:
    """An epoch of the small CLIP's training, its captions included; against bare forward and backward passes."""
    from emobench.concepts.captions import CaptionWriter
    from emobench.concepts.clip import preprocessing
    from emobench.concepts.clip_training import ClipTrainer, ScoredImages

    settings = changed(demo().clip.training, batch_size=BATCH, epochs=1, precision=precision)
    size, count, runs = settings.image_size, STEPS * BATCH, itertools.count()
    writer = CaptionWriter(CONCEPTS, EMOTIONS, 0.5)
    scores = np.random.default_rng(0).random((count, len(CONCEPTS) + len(EMOTIONS))).astype(np.float32)
    pictures, rows = faces(count), np.arange(count)
    train, val = (ScoredImages(pictures, rows[:some], scores[:some]) for some in (count, 2))
    prepared = preprocessing([size] * 2, [0.5] * 3, [0.25] * 3)

    def trainer() -> Any:
        return ClipTrainer(settings, writer, train, val, prepared, seed=0)

    bare, texts = trainer(), [f"a face with {name}" for name in CONCEPTS] * 6
    model = bare.model.train()
    tokens = torch.searchsorted(bare.tokens, bare.tokenizer(texts))
    inputs = torch.rand(BATCH, 3, size, size).to(memory_format=torch.channels_last)
    optimizer, target = torch.optim.AdamW(model.parameters(), lr=0.001, fused=True), torch.rand(BATCH, len(texts))

    def plain() -> None:
        for _ in range(STEPS):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                seen, said = model.encode_image(inputs, normalize=True), model.encode_text(tokens, normalize=True)
            optimizer.zero_grad(set_to_none=True)
            F.binary_cross_entropy_with_logits(seen.float() @ said.float().T, target).backward()
            optimizer.step()

    return Part(plain, lambda: trainer().fit(folder / str(next(runs))))


def embedding(folder: Path) -> Part:
    """Pictures embedded by the demo's CLIP (random weights); against the bare image tower."""
    from emobench.concepts.clip import Origin, build, preprocessing, ready
    from emobench.concepts.clip_training import model_config

    settings, count = demo().clip.training, 4 * 256
    config, size = model_config(settings), settings.image_size
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = ready(
            build(config), config, preprocessing([size] * 2, [0.5] * 3, [0.25] * 3), Origin("train", ""), "cpu"
        )
    batches = torch.rand(count, 3, size, size).split(256)
    batches = [batch.to(memory_format=torch.channels_last) for batch in batches]
    return Part(lambda: forward(clip.model.encode_image, batches), lambda: clip.embed_images(faces(count), 256))
