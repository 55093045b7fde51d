"""Hostile values for every key of params.yaml, and the stages that read a key."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml as plain
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = (
    "-1", "0", "1e400", ".inf", "-.inf", ".nan", "18446744073709551616", "1000000000000", "0.5", "true", "null", "[]",
    "[[]]", "{}", '""', '"x"', "12:30:45", "0o17", '"../../escape"', f'"{"n" * 300}"', '"raw"', "2026-11-28", "[null]",
)  # fmt: skip
"""As they stand in the file."""
GIB = 2**30
MOST_STAGES = 3
"""That are run after a change that `validate` takes."""


def hostile(path: Path) -> Iterator[tuple[str, str]]:
    """Place (``edit.search.steps``, ``taus[0]``) and value, for every key and the first of every list."""
    for place in _places(plain.safe_load(path.read_text())):
        for value in HOSTILE:
            yield place, value


def _places(values: Any, above: str = "") -> Iterator[str]:
    for key, value in values.items() if isinstance(values, dict) else ():
        place = f"{above}.{key}".lstrip(".")
        yield place
        if isinstance(value, list) and value:
            yield f"{place}[0]"
        yield from _places(value, place)


def changed(path: Path, place: str, text: str) -> None:
    """Writes the value there, as text that YAML reads."""
    yaml = YAML()
    values = yaml.load(path.read_text())
    *above, last = place.split(".")
    inner = values
    for key in above:
        inner = inner[key]
    marker = "hostile-value-stands-here"
    if last.endswith("[0]"):
        inner[last.removesuffix("[0]")][0] = marker
    else:
        inner[last] = marker
    path.unlink()
    with open(path, "w") as file:
        yaml.dump(values, file)
    path.write_text(path.read_text().replace(marker, text))


def stages_of(place: str, benchmark: str) -> list[str]:
    """The stages whose params in dvc.yaml hold the key, those of the tiny benchmark's own files only as far as it goes.

    A benchmark of another name or seed would have to be made anew from its first stage.
    """
    stages = plain.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    names = [
        stage
        for stage, content in stages.items()
        if any(place == name or place.startswith((f"{name}.", f"{name}[")) for name in content["params"])
    ]
    own = ("prepare", "annotate", "network", "clip", "embed")
    if place in ("name", "seed"):
        return names[:1]
    names = [name for name in names if name != "track" and (benchmark == "tiny" or name in own)]
    # What lies between reads no key, but what the first stage made of it.
    whole = list(stages)[list(stages).index(names[0]) : list(stages).index(names[-1]) + 1] if names else []
    return (whole if len(whole) <= MOST_STAGES else names)[:MOST_STAGES]


def bounded() -> None:
    """Bounds a process's memory: what would take all of the machine's fails."""
    resource.setrlimit(resource.RLIMIT_AS, (12 * GIB, 12 * GIB))
