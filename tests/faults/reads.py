"""Which files each stage reads: those that dvc.yaml lists or the notes among them tell of, and what a user brings."""

import json
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
OWN = {
    "prepare": ["data/raw/own.zip", "concepts/mine.csv"],
    "annotate": ["data/raw/own.csv"],
    "network": ["data/raw/weights.safetensors"],
    "clip": ["data/raw/clip"],
    "embed": ["models/own/clip"],
}

CARDS = {
    "data/tiny/dataset.json": ["data/tiny/images.npy", "data/tiny/index.parquet"],
    "models/tiny/network/network.json": ["models/tiny/network"],
}
"""A card holds the digests of these, so that a note of the card tells of them."""
DATA = ["data/tiny/dataset.json", *CARDS["data/tiny/dataset.json"]]
NOTED_IN_TABLES = {"edit": [*DATA, "data/tiny/vocabulary.json"], "compare": DATA}


def stage_files(benchmark: Path) -> dict[str, list[str]]:
    """Stage -> files of a benchmark made by ``tiny.made``, relative to it."""
    if benchmark.name == "own":
        found = OWN
    else:
        stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
        kinds = ("data/", "models/", "artifacts/", "reports/")
        deps = {
            stage: [dep.replace("${name}", "tiny") for dep in content["deps"] if dep.startswith(kinds)]
            for stage, content in stages.items()
        }
        found = {
            stage: [*dict.fromkeys([*_read(benchmark, listed), *NOTED_IN_TABLES.get(stage, [])])]
            for stage, listed in deps.items()
        }
    return {stage: [name for dep in deps for name in _files(benchmark, dep)] for stage, deps in found.items()}


def _read(benchmark: Path, deps: list[str]) -> list[str]:
    """The files among deps, and in place of each note what it tells of."""
    found: list[str] = []
    for dep in deps:
        if "/seen/" in dep:
            noted = json.loads((benchmark / dep).read_text())
            found += _read(benchmark, [path.format(name="tiny") for path in noted])
        else:
            found += [dep, *CARDS.get(dep, [])]
    return found


def _files(benchmark: Path, dep: str) -> list[str]:
    path = benchmark / dep
    if path.is_dir():
        return [one.relative_to(benchmark).as_posix() for one in sorted(path.rglob("*")) if one.is_file()]
    return [dep] if path.is_file() else []
