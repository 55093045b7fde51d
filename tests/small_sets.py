"""Small data sets of noise in the forms that users bring: no picture of a person."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from emobench.vocabulary.class_names import BASIC


def picture(seed: int, size: tuple[int, int] = (60, 60), channels: int = 3, form: str = "PNG") -> bytes:
    """A noise picture, width x height."""
    shape = (size[1], size[0]) if channels == 1 else (size[1], size[0], 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def write_files(folder: Path, files: dict[str, bytes | str]) -> Path:
    """Writes files below a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def zipped(folder: Path) -> Path:
    """A zip of a folder, beside it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


def class_folders(splits=("train", "val", "test"), classes=BASIC, each: int = 1, end: str = ".png") -> dict[str, bytes]:
    """Pictures of every class and split; splits of one empty name: ``class/file``."""
    form = {"jpg": "JPEG", "webp": "WEBP"}.get(end.lower().strip("."), "PNG")
    names = [f"{split}/{name}/{k}{end}".lstrip("/") for split in splits for name in classes for k in range(each)]
    return {name: picture(seed, form=form) for seed, name in enumerate(names)}
