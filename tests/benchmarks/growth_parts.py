"""What is measured for growth: name -> axis and a function of a folder and a size that gives the work and its warm-up.

Inputs lie in files and are mapped, as the stages have them; the warm-up is the same work at a size of next to nothing,
so that what is compiled, loaded and allocated once doesn't count.
"""

import functools
import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

DRAWN, BLOCK, SIDE = 200, 8, 48
IMAGES, UNITS, CONCEPTS, FEW = 4_000, 64, 25, 256
WIDTH, EDITED_IMAGES = 1 / 16, 64
Work = Callable[[], object]


def load() -> None:
    """Imports what the parts use, once for all their processes."""
    for name in (
        "concepts.clip", "faces.audit", "faces.synthetic.faces", "functional.faithfulness", "functional.similarity",
        "networks.recording", "sweeps.sweep", "networks.training",
    ):  # fmt: skip
        importlib.import_module(f"emobench.{name}")


def tiled(path: Path, count: int) -> np.ndarray:
    """Drawn faces uint8 (count, 48, 48), mapped. After the first tile their blocks are shuffled: no image is a copy."""
    from emobench.faces.synthetic.faces import synthesize

    rng, faces = np.random.default_rng(0), synthesize(min(DRAWN, count), seed=0).images
    across = SIDE // BLOCK
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, SIDE, SIDE))
    for start in range(0, count, len(faces)):
        tile = faces[: count - start]
        if start:
            blocks = (
                tile.reshape(len(tile), across, BLOCK, across, BLOCK).swapaxes(2, 3).reshape(len(tile), -1, BLOCK**2)
            )
            blocks = rng.permuted(np.arange(across**2)[None].repeat(len(tile), 0), axis=1)[..., None], blocks
            blocks = np.take_along_axis(blocks[1], blocks[0], axis=1)
            tile = blocks.reshape(len(tile), across, across, BLOCK, BLOCK).swapaxes(2, 3).reshape(tile.shape)
        images[start : start + len(tile)] = tile
    images.flush()
    return np.load(path, mmap_mode="r")


def random_file(path: Path, rows: int, columns: int, mean: float = 0.0, spread: float = 1.0) -> torch.Tensor:
    """Normal numbers float32 (rows, columns), mapped."""
    rng = np.random.default_rng(0)
    values = np.lib.format.open_memmap(path, "w+", np.float32, (rows, columns))
    for start in range(0, rows, 1000):
        values[start : start + 1000] = mean + spread * rng.standard_normal(
            (min(1000, rows - start), columns), np.float32
        )
    values.flush()
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def index_of(count: int):
    """A kept train image a row; every tenth is of val."""
    import pandas as pd

    split = np.where(np.arange(count) % 10 == 0, "val", "train")
    return pd.DataFrame({
        "image_id": np.arange(count).astype(str), "label": np.arange(count) % 7, "split": split, "status": "kept",
        "duplicate_of": None,
    })  # fmt: skip


def digest(folder: Path, size: int) -> tuple[Work, Work]:
    from emobench.faces.imageset import ImageSet

    imageset, few = (ImageSet(tiled(folder / f"{n}.npy", n), index_of(n)) for n in (size, FEW))
    return imageset.digest, few.digest


def audit(folder: Path, size: int) -> tuple[Work, Work]:
    from emobench.faces.audit import audit_images
    from emobench.faces.raw import RawImages

    raw, few = (
        RawImages(tiled(folder / f"{n}.npy", n), [str(row) for row in range(n)], np.arange(n) % 7,
                  np.full(n, "train")) for n in (size, FEW)
    )  # fmt: skip
    return functools.partial(audit_images, raw, 3), functools.partial(audit_images, few, 3)


def record(folder: Path, size: int) -> tuple[Work, Work]:
    from small_network import small_vggnet

    from emobench.networks.record_folder import record_folder
    from emobench.networks.vggnet import LAYERS

    network, options = small_vggnet(WIDTH), {"pool": "avg", "tokens": "mean", "batch_size": 256}

    def run(count: int) -> Work:
        images = tiled(folder / f"{count}.npy", count)
        return lambda: record_folder(folder / f"r{count}", network, images, LAYERS, {}, **options)

    return run(size), run(FEW)


def embed(folder: Path, size: int) -> tuple[Work, Work]:
    from small_clip import random_clip

    from emobench.concepts.clip import Origin, preprocessing, ready

    config = {"text_cfg": {"context_length": 16}}
    clip = ready(
        random_clip(embed_dim=128), config, preprocessing(32, [0.5] * 3, [0.25] * 3), Origin("train", ""), "cpu"
    )

    def run(count: int) -> Work:
        images = tiled(folder / f"{count}.npy", count)
        stored = np.lib.format.open_memmap(folder / f"e{count}.npy", "w+", np.float32, (count, 128))
        return lambda: clip.embed_images(images, 256, out=stored)

    return run(size), run(FEW)


def top(folder: Path, size: int) -> tuple[Work, Work]:
    from emobench.functional.similarity.scores import top_images

    few = torch.randn(FEW, UNITS)
    return functools.partial(top_images, random_file(folder / "a.npy", size, UNITS), 100), lambda: top_images(few, 100)


def similarity(name: str, folder: Path, *, images: int = IMAGES, units: int = UNITS, concepts: int = CONCEPTS):
    from emobench.functional.similarity import scores as similarity

    function = getattr(similarity, name)
    if name == "rank_reorder":
        function = lambda *tables: similarity.rank_reorder(*tables, generator=torch.Generator().manual_seed(0))  # noqa: E731
    scores = random_file(folder / "s.npy", images, concepts, 0.2, 0.03)
    activations = random_file(folder / "a.npy", images, units)
    few = torch.rand(FEW, CONCEPTS), torch.randn(FEW, UNITS)
    return functools.partial(function, scores, activations), functools.partial(function, *few)


def faithfulness(folder: Path, *, images: int = 1_000, units: int = UNITS, concepts: int = CONCEPTS):
    from emobench.functional.faithfulness import agreement, scored_evidence

    evidence = scored_evidence(random_file(folder / "s.npy", images, concepts), 0.2)
    few = scored_evidence(torch.rand(FEW, CONCEPTS), 0.2)
    activations = random_file(folder / "a.npy", images, units)
    return lambda: agreement(activations, evidence, 0.2), lambda: agreement(torch.randn(FEW, UNITS), few, 0.2)


def sweep(folder: Path, size: int, *, outcomes: bool) -> tuple[Work, Work]:
    """Scales lie in a file; logits, or predictions and NLL, of every configuration are what is asked for."""
    from small_network import new_network

    from emobench.sweeps.sweep import sweep_logits, sweep_outcomes

    network, inputs = new_network(WIDTH, 0.2, 0).eval(), torch.rand(EDITED_IMAGES, 1, 40, 40)
    labels = torch.arange(EDITED_IMAGES) % 7
    scales = random_file(folder / "scales.npy", size, len(network.lin2.weight), 1.0, 0.3)
    if outcomes:
        run = lambda some: sweep_outcomes(network, "lin2", inputs, labels, some, memory_gib=2.0)  # noqa: E731
    else:
        run = lambda some: sweep_logits(network, "lin2", inputs, some, memory_gib=2.0)  # noqa: E731
    return functools.partial(run, scales), functools.partial(run, scales[:20])


def _of_size(part: Callable, axis: str, *first: object) -> Callable[[Path, int], tuple[Work, Work]]:
    return lambda folder, size: part(*first, folder, **{axis: size})


FUNCTIONS = ("soft_wpmi", "wpmi", "rank_reorder", "cos_similarity", "cos_similarity_cubed")
PARTS: dict[str, tuple[str, Callable[[Path, int], tuple[Work, Work]]]] = {
    "digest": ("images", digest),
    "audit": ("images", audit),
    "record": ("images", record),
    "embed": ("images", embed),
    "top images": ("images", top),
    "soft_wpmi of images": ("images", _of_size(similarity, "images", "soft_wpmi")),
    "cos_similarity_cubed of images": ("images", _of_size(similarity, "images", "cos_similarity_cubed")),
    **{f"{name} of concepts": ("concepts", _of_size(similarity, "concepts", name)) for name in FUNCTIONS},
    "faithfulness of concepts": ("concepts", _of_size(faithfulness, "concepts")),
    **{f"{name} of units": ("units", _of_size(similarity, "units", name)) for name in FUNCTIONS},
    "faithfulness of units": ("units", _of_size(faithfulness, "units")),
    "sweep outcomes": ("configurations", functools.partial(sweep, outcomes=True)),
    "sweep logits": ("configurations", functools.partial(sweep, outcomes=False)),
}
