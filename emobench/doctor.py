"""What this machine has for the benchmark, and what a part that is missing switches off."""

import ctypes
import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from emobench.device import computes_bfloat16

NEEDED_GB = {"environment": 7.0, "demo": 0.7, "FER2013": 5.0}
"""Disk that was used once: by .venv, and by data, models, artifacts and DVC's cache of a benchmark."""
VECTOR_UNITS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "asimd",
    "sve",
    "bf16",
)
"""Names that Linux gives to what matters for torch, on x86 and on ARM."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def examine(root: Path) -> dict[str, Any]:
    """Looks at processors, memory, disk, versions and optional parts; changes nothing, looks nothing up elsewhere.

    Args:
        root: the folder whose disk will take the results.

    Returns:
        ``cpu`` (name, vector_units, cores), ``precision`` (what ``auto`` is on the CPU and the GPU), ``memory_gb`` and
        ``disk_gb`` (total or needed, and free), ``gpu`` (name, memory_gb) or None, ``versions``, and ``parts``: of each
        optional part where it was ``found`` (None: missing) and what is ``without`` it.
    """
    import joblib
    import torch

    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    name, flags = _cpu()
    return {
        "cpu": {
            "name": name,
            "vector_units": [unit for unit in VECTOR_UNITS if unit in flags],
            "cores": joblib.cpu_count(),
        },
        "precision": {device: "bfloat16" if computes_bfloat16(device) else "float32" for device in devices},
        "memory_gb": _memory(),
        "disk_gb": {"needed": NEEDED_GB, "free": _gb(shutil.disk_usage(root).free), "folder": str(root.resolve())},
        "gpu": _gpu() if "cuda" in devices else None,
        "versions": {"python": platform.python_version(), **{part: version(part) for part in ("torch", "emobench")}},
        "parts": {name: {"found": look(), "without": without} for name, (look, without) in PARTS.items()},
    }


def told(found: dict[str, Any]) -> list[str]:
    """The lines of one screen, from what ``examine`` found."""
    cpu, memory, disk, gpu = found["cpu"], found["memory_gb"], found["disk_gb"], found["gpu"]
    needed = ", ".join(f"{what} {size:g} GB" for what, size in disk["needed"].items())
    precisions = ", ".join(f"{chosen} on {device}" for device, chosen in found["precision"].items())
    emulated = " (bfloat16 would be emulated there, many times slower)" if "float32" in precisions else ""
    rows = {
        "CPU": f"{cpu['name']}, {cpu['cores']} cores, vector units: {' '.join(cpu['vector_units']) or 'unknown'}",
        "precision": f"auto is {precisions}{emulated}",
        "memory": f"{memory['free']:g} of {memory['total']:g} GB free",
        "disk": f"{disk['free']:g} GB free in {disk['folder']}; needed: {needed}",
        "GPU": f"{gpu['name']}, {gpu['memory_gb']:g} GB" if gpu else "none: all stages run on the CPU",
        "versions": ", ".join(f"{part} {number}" for part, number in found["versions"].items()),
    }
    for name, part in found["parts"].items():
        rows[name] = part["found"] or f"missing: {part['without']}"
    return [f"{name:<11} {text}" for name, text in rows.items()]


def _cpu() -> tuple[str, set[str]]:
    """The CPU's name, and the flags that the kernel tells of it (none but on Linux)."""
    path = Path("/proc/cpuinfo")
    lines = [line.partition(":") for line in path.read_text().splitlines()] if path.is_file() else []
    first = {key.strip(): value.strip() for key, _, value in reversed(lines)}
    name = first.get("model name") or platform.processor() or platform.machine()
    return name, set(first.get("flags", first.get("Features", "")).split())


def _memory() -> dict[str, float]:
    """What is there and what is free, within the limit of a container."""
    import psutil

    seen, limit = psutil.virtual_memory(), Path("/sys/fs/cgroup/memory.max")
    bound = limit.read_text().strip() if limit.is_file() else "max"
    total = seen.total if bound == "max" else min(seen.total, int(bound))
    return {"total": _gb(total), "free": _gb(min(seen.available, total))}


def _gpu() -> dict[str, Any]:
    import torch

    seen = torch.cuda.get_device_properties(0)
    return {"name": seen.name, "memory_gb": _gb(seen.total_memory)}


def _gb(size: int) -> float:
    return round(size / 1e9, 1)


def _program(*names: str, below: str = "") -> Callable[[], str | None]:
    """Looks for the first of some programs on the path, else in the folders ``below`` stands for."""

    def look() -> str | None:
        places = [str(path) for path in Path("/").glob(below)] if below else []
        return next(filter(None, [shutil.which(name, path=path) for path in [None, *places] for name in names]), None)

    return look


def _package(name: str) -> Callable[[], str | None]:
    """Looks for an importable package; tells its release."""
    return lambda: f"{name} {version(name)}" if find_spec(name) else None


def _libraries(*names: str) -> Callable[[], str | None]:
    """Opens shared libraries as their user would; only Linux keeps them apart from the system."""

    def look() -> str | None:
        try:
            for name in names:
                ctypes.CDLL(name, mode=os.RTLD_LAZY)
        except OSError:
            return None
        return ", ".join(names)

    return look if sys.platform == "linux" else lambda: "part of the system"


PARTS = {
    "Chromium": (_program(*BROWSERS), "make test skips the tests of the pages in a browser"),
    "PostgreSQL": (
        _program("postgres", below="usr/lib/postgresql/*/bin"),
        "make test skips the test of an MLflow server in front of PostgreSQL",
    ),
    "MediaPipe": (
        _package("mediapipe"),
        "no annotations by a landmark model, a table of them works; make setup EXTRAS=dev,landmarks",
    ),
    "EGL, GLES": (
        _libraries("libEGL.so.1", "libGLESv2.so.2"),
        "MediaPipe can't be loaded; apt-get install libegl1 libgles2",
    ),
    "Dask": (_package("distributed"), "sweeps run on this machine only, not on a cluster"),
}
