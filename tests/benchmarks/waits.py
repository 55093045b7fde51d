"""What users wait for, each as two functions: the tool, and a plain way to do the same or what the tool can't do without.

Each part imports what it needs by itself: against another version of the package (bench-compare) a part that doesn't
run there doesn't take the others with it. Sizes are the demo's, images fewer.
"""

import copy
import dataclasses
import functools
import itertools
import os
import subprocess
import sys
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
    if dataclasses.is_dataclass(settings):
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
    from emobench.faces.synthetic import synthesize

    return synthesize(count, seed=0).images


def labels(count: int) -> np.ndarray:
    """A class for each image (count,) int64."""
    return np.arange(count) % 7


def training(folder: Path, precision: str) -> Part:
    """An epoch of the network's training, its augmentation and its checkpoint included; against the bare network."""
    from emobench.networks.training import LabelledImages, Trainer, new_network

    settings = changed(demo().baseline, width=WIDTH, batch_size=BATCH, epochs=1, precision=precision)
    count = STEPS * BATCH
    train, val = LabelledImages(faces(count), labels(count)), LabelledImages(faces(count)[:2], labels(2))
    network = new_network(WIDTH, settings.dropout, 0).to(memory_format=torch.channels_last).train()
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

    return Part(plain, lambda: Trainer(settings, train, val, seed=0).fit(folder / str(next(runs))))


def recording(folder: Path) -> Part:
    """All layers recorded into files, the pictures made to inputs included; against the bare forward pass."""
    from emobench.networks.loading import to_inputs
    from emobench.networks.recording import record_arrays
    from emobench.networks.training import new_network
    from emobench.params import LAYERS

    count, network = 4 * 256, new_network(WIDTH, 0.0, 0).eval()
    network = network.to(memory_format=torch.channels_last)
    shapes = {name: (count, len(network.get_submodule(name).weight)) for name in LAYERS}
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, shape)
        for name, shape in shapes.items()
    }
    batches = torch.rand(count, 1, 40, 40).split(256)
    batches = [batch.to(memory_format=torch.channels_last) for batch in batches]
    options = {"pool": "avg", "batch_size": 256}
    return Part(
        lambda: forward(network, batches), lambda: record_arrays(network, to_inputs, faces(count), arrays, **options)
    )


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
    train, val = ScoredImages(faces(count), scores), ScoredImages(faces(count)[:2], scores[:2])
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
        clip = ready(build(config), config, preprocessing([size] * 2, [0.5] * 3, [0.25] * 3), Origin("train", ""), "cpu")
    batches = torch.rand(count, 3, size, size).split(256)
    batches = [batch.to(memory_format=torch.channels_last) for batch in batches]
    return Part(lambda: forward(clip.model.encode_image, batches), lambda: clip.embed_images(faces(count), 256))


def dissecting(folder: Path) -> Part:
    """All layers by three functions, with nulls, stability and held-out evidence; against loops that only score."""
    import pandas as pd
    import yardstick

    from emobench.faces.imageset import ImageSet
    from emobench.functional.dissection import concept_scores
    from emobench.networks.dissecting import Images, dissect_networks
    from emobench.networks.loading import to_inputs
    from emobench.networks.recording import record_folder
    from emobench.networks.training import new_network
    from emobench.params import LAYERS
    from emobench.vocabulary import CLASSES, concept_classes, concept_set

    count, names = 1200, concept_set("expressions")
    index = {"image_id": [str(row) for row in range(count)], "label": labels(count), "status": "kept"}
    index |= {"split": ["train"] * 900 + ["val"] * 300, "duplicate_of": None}
    imageset, rng = ImageSet(faces(count), pd.DataFrame(index)), np.random.default_rng(0)
    seen, said = (F.normalize(torch.from_numpy(rng.normal(size=(n, 64)).astype(np.float32))) for n in (count, len(names)))
    scored = concept_scores("expressions", seen, said, names, concept_classes(), CLASSES)
    images = Images(imageset, seen, [scored], pd.DataFrame(rng.random((count, len(names))), columns=names))
    source = {"images_digest": imageset.digest()}
    network, options = new_network(WIDTH, 0.0, 0).eval(), {"pool": "avg", "batch_size": 256}
    record_folder(folder / "recorded", network, to_inputs, imageset.images, LAYERS, source, **options)
    settings = changed(demo().dissect, similarity_fns=["soft_wpmi", "wpmi", "cos_similarity"])
    recordings = {"trained": folder / "recorded"}
    layers = [torch.from_numpy(np.load(folder / "recorded" / f"{layer}.npy")[:900]) for layer in LAYERS]

    def plain() -> None:
        for activations, function in itertools.product(layers, ("soft_wpmi", "wpmi", "matrix_product")):
            getattr(yardstick, function)(scored.scores[:900], activations)

    return Part(plain, lambda: dissect_networks(settings, images, recordings, profiled="soft_wpmi", seed=0))


def sweeping(folder: Path) -> Part:
    """Edits of lin2 with two values a unit, as random controls are; against copying, editing and running the network."""
    from emobench.functional.edits import selection_scale
    from emobench.networks.sweep import sweep_logits
    from emobench.networks.training import new_network

    network, inputs = new_network(WIDTH, 0.2, 0).eval(), torch.rand(512, 1, 40, 40)
    units, configs = len(network.lin2.weight), 400
    scale, generator = selection_scale(torch.arange(units) % 16 > 0, 1.5), torch.Generator().manual_seed(0)
    scales = torch.stack([scale[torch.randperm(units, generator=generator)] for _ in range(configs)])
    plain = functools.partial(edited_forward, network, "lin2", scale, inputs)
    return Part(plain, lambda: sweep_logits(network, "lin2", inputs, scales, memory_gib=2.0), configs)


@torch.inference_mode()
def edited_forward(network: torch.nn.Module, layer: str, scale: torch.Tensor, inputs: torch.Tensor) -> None:
    """One configuration the way the published code evaluates it."""
    edited = copy.deepcopy(network)
    edited.get_submodule(layer).weight.mul_(scale[:, None])
    forward(edited, inputs.split(256))


def controls(folder: Path, *, early: bool) -> Part:
    """All edits of a small benchmark with 200 draws of each random control, stopped early or not.

    With early stopping against the same without, and that against running the edited network once a configuration.
    """
    import pandas as pd
    import pytest
    from edit_bench import small_params, write_benchmark

    from emobench.faces.imageset import load_imageset
    from emobench.networks.editing import sweep_edits
    from emobench.networks.loading import load_network

    edit = small_params(draws=200).edit
    if hasattr(edit.controls, "least"):
        most = changed(edit, controls=changed(edit.controls, least=edit.controls.draws))
        edit = changed(edit, controls=changed(edit.controls, least=50))
    elif early:
        pytest.skip("params have no edit.controls.least: controls don't stop early in this version")
    else:
        most = edit
    layout = write_benchmark(folder, train=50, val=400, test=500)
    network, imageset = load_network(layout.models / "baseline.safetensors"), load_imageset(layout.data)
    tables = [pd.read_parquet(layout.artifacts / f"{name}.parquet") for name in ("layers", "units")]
    whole = functools.partial(sweep_edits, most, network, imageset, *tables, seed=0)
    if early:
        return Part(whole, lambda: sweep_edits(edit, network, imageset, *tables, seed=0))
    found = whole()
    ones = torch.ones(len(network.model.get_submodule(found.layer).weight))
    inputs = network.transform(imageset.images[imageset.rows("val")])
    ones = ones.reshape(-1, *[1] * (network.model.get_submodule(found.layer).weight.ndim - 2))
    return Part(functools.partial(edited_forward, network.model, found.layer, ones, inputs), whole, found.evaluated)


def logging(folder: Path) -> Part:
    """A benchmark of 120 edits tracked in SQLite; against the same number of runs by MLflow's client, one by one."""
    import log_times
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    count, client = 120, None

    def plain() -> None:
        nonlocal client
        if client is None:
            client = MlflowClient(f"sqlite:///{folder}/plain.db")
            client.create_experiment("plain")
        for number in range(10):
            run = client.create_run("0", run_name=str(number)).info.run_id
            client.log_batch(
                run, [Metric(f"m{i}", float(i), 0, 0) for i in range(40)], [Param(f"p{i}", str(i)) for i in range(20)]
            )
            client.set_terminated(run)

    def tool() -> None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        log_times.measure(count)

    plain()
    return Part(plain, tool, count / 10)


def start(folder: Path, stage: str) -> Part:
    """A stage's command until it finds that its files are missing; against the import of torch, pandas and numpy."""
    import emobench

    preset = Path(emobench.__file__).parent / "presets" / "demo.yaml"
    (folder / "params.yaml").write_text(preset.read_text())
    where = {"cwd": folder, "capture_output": True, "text": True}

    def tool() -> None:
        done = subprocess.run([sys.executable, "-m", "emobench.cli", stage], **where)
        assert "emobench: " in done.stderr, done.stderr

    imports = "import numpy, pandas, torch"
    return Part(lambda: subprocess.run([sys.executable, "-c", imports], check=True, **where), tool)
