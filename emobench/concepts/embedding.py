"""Embedding a whole image set, so that an interrupted run goes on where it was."""

from pathlib import Path

import numpy as np

from emobench.concepts.clip import ClipModel
from emobench.failures import naming
from emobench.files import new_array
from emobench.progress import progress

VECTORS, DONE = "image_embeddings.npy", "done"
SAVED = 16
"""Batches between two notes of how far the work is."""


def embed_all(clip: ClipModel, images: np.ndarray, batch_size: int, work: Path) -> Path:
    """Embeds all pictures, each as a unit vector.

    Args:
        clip: the model.
        images: uint8 (n, height, width) or (n, height, width, 3), may be mapped: only a batch is held at a time.
        batch_size: images a forward pass.
        work: folder of this work; what is there must come from the same model, images and batch size.

    Returns:
        The file in ``work`` with the vectors float32 (n, dim), whole.
    """
    work.mkdir(parents=True, exist_ok=True)
    path, note = work / VECTORS, work / DONE
    shape = len(images), clip.config["embed_dim"]
    done = _done(note, path, shape)
    if not done:
        note.unlink(missing_ok=True)
    stored = np.lib.format.open_memmap(path, "r+") if done else new_array(path, shape)
    with progress(total=len(images), desc="embed images", unit="image") as bar:
        bar.update(done)
        # The bar's speed, and so its time left, counts from here.
        bar.initial = bar.n
        for number, start in enumerate(range(done, len(images), batch_size), 1):
            part = slice(start, start + batch_size)
            stored[part] = clip.embed_batch(images[part])
            bar.update(len(stored[part]))
            if number % SAVED == 0:
                stored.flush()
                with naming(note):
                    note.write_text(str(start + batch_size))
    stored.flush()
    return path


def _done(note: Path, path: Path, shape: tuple[int, int]) -> int:
    """How many pictures are embedded already; none where what was kept is torn or of another form."""
    try:
        count, stored = int(note.read_text()), np.load(path, mmap_mode="r", allow_pickle=False)
        return count if count >= 0 and stored.shape == shape and stored.dtype == np.float32 else 0
    except (OSError, ValueError, EOFError):
        return 0
