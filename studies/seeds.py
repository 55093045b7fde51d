"""Runs the demo with other seeds, so that a study has several networks of one kind on faces that they don't share.

Run in the repository's root: `python studies/seeds.py 1 2 3 4`. Each seed is a benchmark of its own, demo-seed<N>:
faces, CLIP and network are made anew. Only the arm that studies ask about is tried, with its controls, and each layer
is dissected once, by one function; the untrained and the noisy twin are left out. A seed that stands costs seconds
(DVC's run cache). The tables of each are kept as a reference, which `emobench study` reads. params.yaml and
dvc.lock are as before at the end.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

import emobench
from emobench.params import load_params

PRESET = Path(emobench.__file__).parent / "presets" / "demo.yaml"
STEPS = ("dvc", "repro"), ("emobench", "reference", "--tables")
"""What runs for a seed: modules with their arguments."""


def params_of(seed: int) -> dict[str, Any]:
    """The demo's params with another seed, and nothing that a study doesn't ask for."""
    values = YAML(typ="safe", pure=True).load(PRESET.read_text())
    values |= {"name": f"demo-seed{seed}", "seed": seed}
    values["record"] |= {"untrained": False, "noise": 0.0}
    values["dissect"] |= {"similarity_fns": [values["edit"]["similarity_fn"]]}
    search = values["edit"]["search"] | {"kinds": [], "joint": [], "joint_kinds": []}
    values["edit"] |= {"arms": ["similarity"], "operations": ["rows"], "search": search}
    return values


@contextmanager
def kept(*paths: Path) -> Iterator[None]:
    """Puts files back as they were."""
    before = {path: path.read_bytes() for path in paths if path.is_file()}
    try:
        yield
    finally:
        for path, content in before.items():
            path.write_bytes(content)


@click.command()
@click.argument("seeds", nargs=-1, type=click.IntRange(1), required=True)
def main(seeds: tuple[int, ...]) -> None:
    """Run the demo with each of SEEDS, and keep each as a reference."""
    params, lock = Path("params.yaml"), Path("dvc.lock")
    with kept(params, lock):
        for seed in seeds:
            values = params_of(seed)
            with params.open("w") as file:
                YAML(typ="safe", pure=True).dump(values, file)
            load_params(params)
            for step in STEPS:
                subprocess.run([sys.executable, "-m", *step], check=True)


if __name__ == "__main__":
    main()
