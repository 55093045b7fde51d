"""Which files each stage reads: those that dvc.yaml lists, and what a user brings."""

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


def stage_files(benchmark: Path) -> dict[str, list[str]]:
    """Stage -> files of a benchmark made by ``tiny.made``, relative to it."""
    if benchmark.name == "own":
        found = OWN
    else:
        stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
        kinds = ("data/", "models/", "artifacts/", "reports/")
        found = {
            stage: [dep.replace("${name}", "tiny") for dep in content["deps"] if dep.startswith(kinds)]
            for stage, content in stages.items()
        }
    return {stage: [name for dep in deps for name in _files(benchmark, dep)] for stage, deps in found.items()}


def _files(benchmark: Path, dep: str) -> list[str]:
    path = benchmark / dep
    if path.is_dir():
        return [one.relative_to(benchmark).as_posix() for one in sorted(path.rglob("*")) if one.is_file()]
    return [dep] if path.is_file() else []
