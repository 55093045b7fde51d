"""Bringing a benchmark's inputs: a preset becomes params.yaml, raw files go under DVC, and both are checked."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from emobench.errors import UserError, unknown_name
from emobench.faces.sources import look_at
from emobench.files import replacing
from emobench.params import Params, load_params
from emobench.vocabulary import concept_set

PRESETS = Path(__file__).parent / "presets"
RAW = Path("data/raw")
NONE = str(RAW / "none")


def use_preset(
    preset: str,
    root: Path,
    *,
    archive: Path | None = None,
    weights: Path | None = None,
    annotations: Path | None = None,
) -> list[str]:
    """Writes params.yaml from a preset and puts the inputs that were given under DVC, below data/raw.

    Inputs given to an earlier call for the same preset are found again.

    Args:
        preset: a built-in preset's name, or the path of a complete params.yaml.
        root: the repository.
        archive: images, in a form that the preset's ``data.source`` reads (see emobench.faces.readers); looked into
            before anything is replaced.
        weights: of the network to dissect; without, the preset trains one.
        annotations: a landmark model (``.task``) or a table of measured concepts (``.csv``, ``.parquet``).

    Returns:
        Lines that tell the user what was done.

    Raises:
        UserError: an unknown preset, or an input that is missing, not wanted or not of a known form.
    """
    yaml, source = _yaml(), _preset_file(preset)
    values, params = yaml.load(source.read_text(encoding="utf-8")), load_params(source)
    name, said = values["name"], [f"params.yaml: preset {preset!r}"]
    wants_images = params.data.source != "synthetic"
    given = {"archive": archive, "weights": weights, "annotations": annotations}
    if not wants_images and archive:
        raise UserError(f"preset {preset!r} draws its own images; it takes no --archive")
    if archive:
        said += look_at(params.data, archive)
    brought = {kind: _bring(root, f"{name}-{kind}", path, said) for kind, path in given.items()}
    if wants_images and not brought["archive"]:
        raise UserError(
            f"preset {preset!r} needs images: emobench use {preset} --archive FILE (a zip, a csv or a folder)"
        )
    _fill(values, brought, said)
    with replacing(root / "params.yaml") as temporary:
        with open(temporary, "w", encoding="utf-8") as file:
            yaml.dump(values, file)
        load_params(temporary)
    return [*said, "next: dvc repro"]


def _yaml() -> Any:
    """A reader and writer that keeps comments and quotes."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 4096, True
    return yaml


def _preset_file(preset: str) -> Path:
    """The file of a preset. Raises UserError if there is none."""
    source = Path(preset) if preset.endswith((".yaml", ".yml")) else PRESETS / f"{preset}.yaml"
    if not source.is_file():
        raise unknown_name("preset", preset, [*sorted(path.stem for path in PRESETS.glob("*.yaml")), "or a .yaml file"])
    return source


def _fill(values: Any, brought: dict[str, str | None], said: list[str]) -> None:
    """Writes the paths of the inputs into the params, and what follows from having or lacking them."""
    if brought["archive"]:
        values["data"]["input"] = brought["archive"]
    if brought["weights"]:
        values["baseline"] |= {"source": "weights", "weights": brought["weights"]}
    if brought["annotations"]:
        kind = "landmarks" if brought["annotations"].endswith(".task") else "file"
        values["annotate"] |= {"source": kind, "input": brought["annotations"]}
    elif values["annotate"]["source"] in ("landmarks", "file"):
        values["annotate"] |= {"source": "none", "input": NONE}
        if values["clip"]["source"] == "train":
            values["concept_sets"] = ["emotions"]
            values["edit"]["concept_set"] = "emotions"
            said.append(
                "no --annotations: a CLIP trained here then knows the 7 emotions only. For the 25 expressions give a "
                "MediaPipe face landmarker (face_landmarker.task; pip install 'emobench[landmarks]') or a table"
            )


def _bring(root: Path, stem: str, path: Path | None, said: list[str]) -> str | None:
    """Copies an input to data/raw and adds it to DVC; without one, finds what an earlier call brought."""
    if path is None:
        earlier = [found for found in _files_of(root, stem) if found.suffix != ".dvc"]
        return str(earlier[0].relative_to(root)) if earlier else None
    if not path.exists():
        raise UserError(f"no file or folder {path}")
    target = root / RAW / (stem + path.suffix.lower() if path.is_file() else stem)
    if path.resolve() == target.resolve():
        _put_under_dvc(root, target)
    else:
        _replace(root, stem, path, target)
    said.append(f"{path} is under DVC as {target.relative_to(root)}; git gets its hash only")
    return str(target.relative_to(root))


def _replace(root: Path, stem: str, path: Path, target: Path) -> None:
    """Puts a copy of ``path`` in the place of an earlier input, which comes back if anything fails."""
    with tempfile.TemporaryDirectory(prefix=f".{stem}-", dir=root / RAW) as folder:
        new, aside = Path(folder) / "new", Path(folder) / "old"
        shutil.copytree(path, new) if path.is_dir() else shutil.copyfile(path, new)
        aside.mkdir()
        for old in _files_of(root, stem):
            os.replace(old, aside / old.name)
        try:
            os.replace(new, target)
            _put_under_dvc(root, target)
        except BaseException:
            for half in _files_of(root, stem):
                shutil.rmtree(half) if half.is_dir() else half.unlink()
            for old in aside.iterdir():
                os.replace(old, root / RAW / old.name)
            raise


def _put_under_dvc(root: Path, target: Path) -> None:
    """Runs ``dvc add``. Raises UserError with DVC's own reason if it fails."""
    name = str(target.relative_to(root))
    command = [sys.executable, "-m", "dvc", "add", name]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or done.stderr.splitlines()
        reason = " ".join(" ".join(lines).removeprefix("ERROR: ").split())[:300]
        raise UserError(f"dvc add {name} failed: {reason or 'it gave no reason'}; what was there before is there again")


def _files_of(root: Path, stem: str) -> list[Path]:
    """What lies in data/raw under a name, with any suffix: an input and DVC's note on it."""
    return [path for path in sorted((root / RAW).iterdir()) if path.name == stem or path.name.startswith(f"{stem}.")]


def check_inputs(params: Params, root: Path) -> None:
    """Checks that every input which params name is there and of the right form, without doing the work.

    Raises:
        UserError: names the first input that is not, or a device or precision that this machine lacks.
    """
    wanted = {
        "data.input": (params.data.input, params.data.source != "synthetic"),
        "annotate.input": (params.annotate.input, params.annotate.source in ("landmarks", "file")),
        "baseline.weights": (params.baseline.weights, params.baseline.source == "weights"),
        "clip.weights": (params.clip.weights, params.clip.source == "checkpoint"),
    }
    for key, (name, needed) in wanted.items():
        path = root / name
        if not path.exists():
            raise UserError(
                f"params: {key} is {name}, which is not there; bring it with: emobench use {params.name} ..."
            )
        if needed and name == NONE:
            raise UserError(f"params: {key} is {NONE}, but this benchmark needs a file there")
    if params.data.source != "synthetic":
        look_at(params.data, root / params.data.input)
    for name in params.concept_sets:
        concept_set(name)
    _check_machine(params)
    if params.clip.source == "pretrained" and not params.clip.allow_hub:
        raise UserError("params: clip.source is pretrained, which loads weights from a hub; set clip.allow_hub: true")
    if params.baseline.source == "weights":
        from emobench.networks.loading import load_network

        load_network(root / params.baseline.weights)


def _check_machine(params: Params) -> None:
    """Whether this machine has the device and the precisions that params name."""
    from emobench.device import pick_device, pick_precision

    device, asked = pick_device(params.device), set()
    if params.baseline.source == "train":
        asked.add(params.baseline.precision)
    if params.clip.source == "train":
        asked.add(params.clip.training.precision)
    for precision in sorted(asked):
        pick_precision(precision, device)
