"""Tiny archives in FER2013's forms, of noise: no picture of a person."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from emobench.vocabulary.class_names import BASIC

USAGES = {"Training": "train", "PublicTest": "test", "PrivateTest": "test"}


def noise(count: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, 48, 48) of which no two are alike."""
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 48), dtype=np.uint8)


def png(image: np.ndarray, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()


def kaggle_files(each: int = 1) -> dict[str, np.ndarray]:
    """Path to picture: ``each`` pictures of every class and usage."""
    names = [
        f"{folder}/{name}/{usage}_{100 + number}.png"
        for usage, folder in USAGES.items()
        for name in BASIC
        for number in range(each)
    ]
    return dict(zip(names, noise(len(names)), strict=True))


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def kaggle_zip(path: Path, each: int = 1, **changed: bytes) -> Path:
    """A Kaggle release with every picture of :func:`kaggle_files`."""
    return write_zip(path, {name: png(image) for name, image in kaggle_files(each).items()} | changed)


def csv_text(rows: list[tuple[object, str, str]], header: str = "emotion,pixels,Usage") -> str:
    return "\n".join([header, *(f"{emotion},{pixels},{usage}" for emotion, pixels, usage in rows)]) + "\n"


def csv_rows(each: int = 1) -> list[tuple[object, str, str]]:
    """Rows of every class and usage, the usages in another order than the splits."""
    wanted = [(label, usage) for usage in reversed(USAGES) for label in range(7) for _ in range(each)]
    images = noise(len(wanted), seed=1)
    return [
        (label, " ".join(map(str, image.ravel())), usage) for image, (label, usage) in zip(images, wanted, strict=True)
    ]
