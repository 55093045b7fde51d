"""Where the points of a face lie: MediaPipe's face landmarker over a whole image set, in chunks that survive a kill.

Points are (x, y, z) in pixels of the image: x to the right, y down, z away from the viewer, on x's scale.

MediaPipe reports its use to its maker over HTTPS and has no switch against that. It runs in worker processes of
its own here, whose HTTPS proxy is a closed port of this machine, so that the report never leaves and no name is
looked up.
"""

import hashlib
import importlib.metadata
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from PIL import Image

from emobench.errors import UserError
from emobench.files import write_array
from emobench.forked import end_with_parent
from emobench.progress import progress

POINTS = 478
CHUNK = 500
PAD = 1 / 3
"""Width of the margin around a picture, by its side: the detector misses faces that fill the picture."""
SIZE = 256
"""Least side of what the landmarker is shown, margin included."""
VERSION = 1
"""Raise it when the code here would find other points in the same image: kept points are then not reused."""
CLOSED_PORT = "http://127.0.0.1:9"
_INSTALL = "pip install 'emobench[landmarks]'"


def find_landmarks(
    images: np.ndarray, model: Path, work: Path, *, digest: str, workers: int | None = None
) -> np.ndarray:
    """Finds the points of the face in every image, and goes on where an interrupted run was.

    The points are kept in ``work``, in a folder named by a hash of ``digest``, the model file and the versions, and
    reused by any later run on the same. They don't depend on the number of workers.

    Args:
        images: uint8 (n, height, width) or (n, height, width, 3).
        model: a MediaPipe face landmarker ``.task`` file.
        work: folder for the points found so far.
        digest: tells these images from any others.
        workers: processes; by default one a core.

    Returns:
        Points (n, 478, 3) float32 in pixels; NaN where no face was found.

    Raises:
        UserError: mediapipe or a system library it needs is missing, or ``model`` is missing or no such model.
    """
    model = Path(model)
    if not model.is_file():
        raise UserError(f"no landmark model {model}; expected the path of a MediaPipe face landmarker .task file")
    folder = Path(work) / _key(images.shape, digest, model.read_bytes())
    starts = range(0, len(images), CHUNK)
    chunks = {start: folder / f"{start:07d}.npy" for start in starts}
    missing = [start for start in starts if not chunks[start].is_file()]
    with progress(total=len(images), desc="landmarks", unit="image") as bar:
        bar.update(len(images) - sum(len(images[start : start + CHUNK]) for start in missing))
        # The bar's speed, and so its time left, counts from here.
        bar.initial = bar.n
        jobs = [(np.asarray(images[start : start + CHUNK]), model, chunks[start]) for start in missing]
        for count in _in_processes(_find_chunk, jobs, workers or joblib.cpu_count()):
            bar.update(count)
    found = [np.load(path, allow_pickle=False) for path in chunks.values()]
    return np.concatenate(found) if found else np.empty((0, POINTS, 3), np.float32)


def _key(shape: tuple[int, ...], digest: str, model: bytes) -> str:
    """A hash of all that the points depend on: the content of ``model``, not its path."""
    try:
        version = importlib.metadata.version("mediapipe")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"annotate.source 'landmarks' needs mediapipe; install it: {_INSTALL}") from None
    parts = f"{VERSION} {version} {shape} {hashlib.sha256(model).hexdigest()} {digest}"
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def _in_processes(function: Callable[..., Any], jobs: list[tuple[Any, ...]], workers: int) -> Iterator[Any]:
    """Yields the results of the jobs as they come. Even one worker is a process of its own: see the module."""
    if not jobs:
        return
    pool = ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        for future in as_completed([pool.submit(function, *job) for job in jobs]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Closes the way out, and has the process end with its parent, which may be killed without a word."""
    os.environ.update(https_proxy=CLOSED_PORT, HTTPS_PROXY=CLOSED_PORT, no_proxy="", NO_PROXY="")
    end_with_parent()


def _find_chunk(images: np.ndarray, model: Path, path: Path) -> int:
    """Writes the points of one chunk of images to ``path`` and returns how many images that were."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _native_messages_to(path.parent / "mediapipe.log"):
        write_array(path, _points(images, model))
    return len(images)


@contextmanager
def _native_messages_to(log: Path) -> Iterator[None]:
    """Sends what the library's native code prints to a file: it would tear the progress bar."""
    kept = os.dup(2)
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _points(images: np.ndarray, model: Path) -> np.ndarray:
    """Points (n, 478, 3) of the images, in pixels."""
    points = np.full((len(images), POINTS, 3), np.nan, np.float32)
    mediapipe, landmarker = _open_landmarker(model)
    with landmarker:
        for row, image in enumerate(images):
            data = _framed(image)
            data = np.repeat(data[:, :, None], 3, axis=2) if data.ndim == 2 else data
            result = landmarker.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=data))
            if result.face_landmarks:
                points[row] = [(point.x, point.y, point.z) for point in result.face_landmarks[0]]
    # MediaPipe gives fractions of the framed image's width and height.
    height, width = images.shape[1:3]
    pad = _pad(images[0]) if len(images) else 0
    points *= (width + 2 * pad, height + 2 * pad, width + 2 * pad)
    points[:, :, :2] -= pad
    return points


def _pad(image: np.ndarray) -> int:
    return round(PAD * max(image.shape[:2]))


def _framed(image: np.ndarray) -> np.ndarray:
    """A copy with a margin of its mean, enlarged where it is small: the model was made for larger faces."""
    pad = _pad(image)
    margins = [(pad, pad), (pad, pad), (0, 0)][: image.ndim]
    padded = np.pad(image, margins, constant_values=round(float(image.mean())))
    size = max(SIZE, *padded.shape[:2])
    return np.asarray(Image.fromarray(padded).resize((size, size), Image.Resampling.BICUBIC))


def _open_landmarker(model: Path) -> tuple[Any, Any]:
    """Imports mediapipe and opens the model; its errors become the user's."""
    try:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_buffer=model.read_bytes()), min_face_detection_confidence=0.3
        )
        return mediapipe, vision.FaceLandmarker.create_from_options(options)
    except ImportError as error:
        raise UserError(f"mediapipe can't be imported ({error}); install it: {_INSTALL}") from None
    # A bundle without the expected parts is a FileNotFoundError to mediapipe.
    except (FileNotFoundError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{model} is no MediaPipe face landmarker model (.task file): {reason}") from None
    except OSError as error:
        raise UserError(
            f"mediapipe can't load a system library ({error}); it needs libEGL and libGLESv2 "
            "(Debian: apt-get install libegl1 libgles2)"
        ) from None
