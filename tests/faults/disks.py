"""Stages on a full disk: a bound on the size of files, or a file system in memory with so many bytes left."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

from processes import Done, run


def can_mount() -> bool:
    """Whether this process may mount a file system in memory, as root may in most places."""
    if os.geteuid():
        return False
    probe = Path("/tmp") / f"emobench-mount-{os.getpid()}"
    probe.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", probe], capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", probe], check=True)
        return done.returncode == 0
    except OSError:
        return False
    finally:
        probe.rmdir()


KINDS = ("size of a file", "disk") if can_mount() else ("size of a file",)


def run_full(stage: str, folder: Path, kind: str, left: int) -> Done:
    """Runs a stage that can write files of ``left`` bytes at most, or all together."""
    if kind == "size of a file":
        return run([stage], folder, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (left, left)))
    small = folder.parent / "small"
    small.mkdir()
    used = sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())
    size = used + (len(list(folder.rglob("*"))) + 16) * 4096 + left
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", small], check=True)
    try:
        shutil.copytree(folder, small / folder.name)
        # What is printed lies elsewhere: the disk shall be full for the stage alone.
        outside = folder.parent / "outside"
        outside.symlink_to(small / folder.name)
        return run([stage], outside)
    finally:
        subprocess.run(["umount", "-l", small], check=True)
