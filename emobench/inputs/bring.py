"""Files of the user's: data and weights go under DVC below data/raw, code and concepts into the repository."""

import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from emobench.errors import UserError
from emobench.files import replacing

RAW = Path("data/raw")


def inside(root: Path, place: Path) -> Path:
    """The place below the root.

    Raises:
        UserError: it leaves the repository, by its words or through a link to elsewhere.
    """
    path = root / place
    if ".." in Path(place).parts or not path.parent.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{place} leaves the repository; nothing is written there")
    return path


def earlier(root: Path, *stems: str) -> Path | None:
    """What an earlier call brought under the first of these names that has something; relative to the root."""
    found = (path for stem in stems for path in _files_of(root, stem) if path.suffix != ".dvc")
    first = next(found, None)
    return first.relative_to(root) if first else None


def there(path: Path) -> Path:
    """The path itself. Raises UserError if nothing is there."""
    if not path.exists():
        raise UserError(f"no file or folder {path}")
    return path


def target(stem: str, path: Path) -> Path:
    """Where an input will lie, relative to the root."""
    return RAW / (stem + path.suffix.lower() if path.is_file() else stem)


def bring(root: Path, stem: str, path: Path) -> str:
    """Copies an input to data/raw and adds it to DVC; says so."""
    place = inside(root, target(stem, path))
    if path.resolve() == place.resolve():
        _put_under_dvc(root, place)
    else:
        _replace(root, stem, path, place)
    return f"{path} is under DVC as {place.relative_to(root)}; git gets its hash only"


def own_place(root: Path, folder: Path, path: Path) -> Path:
    """Where a file of the user's lies or will lie, relative to the root: where it is, or else in ``folder``.

    Raises:
        UserError: another file of that name is there.
    """
    there(path)
    if path.resolve().is_relative_to((root / folder).resolve()):
        return path.resolve().relative_to(root.resolve())
    place = folder / path.name
    if (root / place).exists() and not filecmp.cmp(path, root / place, shallow=False):
        raise UserError(f"{path} would replace {place}, which is another file; give one of them another name")
    return place


def keep_own(root: Path, place: Path, path: Path) -> list[str]:
    """Copies a file there, unless it is there; says so."""
    if (root / place).exists() and path.samefile(root / place):
        return []
    with replacing(inside(root, place)) as temporary:
        shutil.copyfile(path, temporary)
    return [f"{path} is copied to {place}, which belongs into git"]


def _replace(root: Path, stem: str, path: Path, place: Path) -> None:
    """Puts a copy of ``path`` in the place of an earlier input, which comes back if anything fails."""
    with tempfile.TemporaryDirectory(prefix=f".{stem}-", dir=root / RAW) as folder:
        new, aside = Path(folder) / "new", Path(folder) / "old"
        shutil.copytree(path, new) if path.is_dir() else shutil.copyfile(path, new)
        aside.mkdir()
        for old in _files_of(root, stem):
            os.replace(old, aside / old.name)
        try:
            os.replace(new, place)
            _put_under_dvc(root, place)
        except BaseException:
            for half in _files_of(root, stem):
                shutil.rmtree(half) if half.is_dir() else half.unlink()
            for old in aside.iterdir():
                os.replace(old, root / RAW / old.name)
            raise


def _put_under_dvc(root: Path, place: Path) -> None:
    """Runs ``dvc add``. Raises UserError with DVC's own reason if it fails."""
    name = str(place.relative_to(root))
    command = [sys.executable, "-m", "dvc", "add", name]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or done.stderr.splitlines()
        reason = " ".join(" ".join(lines).removeprefix("ERROR: ").split())[:300]
        raise UserError(f"dvc add {name} failed: {reason or 'it gave no reason'}; what was there before is there again")
    if place.stem.endswith("-archive"):
        _keep_here(root, place)


def _keep_here(root: Path, place: Path) -> None:
    """Pictures of people leave the machine only if somebody asks for it: ``dvc push`` passes them by."""
    from ruamel.yaml import YAML

    yaml, path = YAML(), root / f"{place.relative_to(root)}.dvc"
    note = yaml.load(path.read_text(encoding="utf-8"))
    note["outs"][0]["push"] = False
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("# Without the line push: false, dvc push sends the pictures to the remote (docs/dvc.md).\n")
        yaml.dump(note, file)


def show_lock(root: Path) -> None:
    """Has git look at dvc.lock again, which ``make repro`` of the benchmark that ships hides from it."""
    with suppress(OSError):
        command = ["git", "update-index", "--no-skip-worktree", "dvc.lock"]
        subprocess.run(command, cwd=root, capture_output=True, check=False)


def _files_of(root: Path, stem: str) -> list[Path]:
    """What lies in data/raw under a name, with any suffix: an input and DVC's note on it."""
    return [path for path in sorted((root / RAW).iterdir()) if path.name == stem or path.name.startswith(f"{stem}.")]
