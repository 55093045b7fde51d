"""A side of a comparison: the results in report folders, or at a git revision.

Metrics have the names that MLflow shows in this version: ``<network>_<images>_<metric>`` (baseline_test_accuracy), the
network being baseline, chosen (the edit that did best on val) or paper (the published edit), and ``<file>_<key>`` for
the others.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo

from emobench.edits import predictions as answers
from emobench.edits.predictions import Answers, agrees, of_benchmark, readable
from emobench.errors import UserError
from emobench.layout import REFERENCE
from emobench.reporting.results import IMAGE_SETS
from emobench.revisions import git

REPORTS = "reports"
EDITS = {"chosen": "chosen_edit", "paper": "paper_edit"}
OTHERS = ("audit", "clip", "dissect", "held_out")
EARLIER = {"network": "baseline", "held_out": "proof"}
"""What a metrics file was called in earlier versions, whose results may lie at earlier revisions."""
NETWORK_FILES = ("network.json", "baseline.json")
NO_METRIC = {"tau", "factor", "seed", "n_up", "n_down", "temperature"}

Reader = Callable[[str], bytes | None]
"""Reads a file by its name; None if there is none."""


@dataclass(frozen=True)
class Side:
    """One benchmark's (or run's) results: metrics, images in each image set, and the answers where they are at hand.

    ``networks``: name -> config_id, the name as in the metrics; ``why`` says why there are no answers.
    """

    metrics: dict[str, float]
    sizes: dict[str, int]
    networks: dict[str, str]
    answers: Answers | None = None
    why: str = ""
    limited: bool = False


@dataclass(frozen=True)
class Source:
    """Something with results: in words, and its benchmarks by name; ``whole``: with all that reports hold."""

    words: str
    sides: dict[str, Side] = field(default_factory=dict)
    whole: bool = True


def of_folder(folder: Path) -> Source:
    """A benchmark's report folder, or one that holds several: what ran here, and references of what did not.

    Predictions lie in artifacts/ beside reports/, those of what is kept in reports/reference/ in the DVC cache, if any.

    Raises:
        UserError: no results there, or files that can't be read.
    """
    places = [f"{place}/{name}" for place in (f"{REFERENCE}/*", "*") for name in NETWORK_FILES]
    several = {path.parent.name: path.parent for place in places for path in sorted(folder.glob(place))}
    folders = [folder] if any((folder / name).is_file() for name in NETWORK_FILES) else sorted(several.values())
    if not folders:
        raise UserError(f"{folder} holds no results; expected network.json in it or in its folders")
    return Source(f"folder {folder}", {path.resolve().name: _in_folder(path.resolve()) for path in folders})


def _in_folder(folder: Path) -> Side:
    root = folder.parent.parent
    if folder.parent.name == REFERENCE:
        cached, hashes = _cache(root.parent), _locked(_bytes(folder / "dvc.lock"))
        return _benchmark(folder.name, lambda file: _bytes(folder / file), _by_hash(cached, hashes))
    return _benchmark(folder.name, lambda file: _bytes(folder / file), lambda path: _bytes(root / path))


def _by_hash(cached: Reader, hashes: Mapping[str, str]) -> Reader:
    """Reads an output by its path, from the cache."""
    return lambda path: cached(hashes[path]) if path in hashes else None


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def of_revision(name: str, commit: str, root: Path) -> Source:
    """What git keeps of reports/ at a revision. Predictions come from the DVC cache, by the hashes in dvc.lock then.

    Raises:
        UserError: no results there, or files that can't be read.
    """
    listed = (git(root, "ls-tree", "-r", "--name-only", commit, f"{REPORTS}/") or b"").decode().splitlines()
    files = "|".join(map(re.escape, NETWORK_FILES))
    results = re.compile(rf"{REPORTS}/({REFERENCE}/)?[^/]+/({files})")
    # The earlier place, right below reports/, comes first: where a benchmark has both, the reference counts.
    found = sorted((path for path in listed if results.fullmatch(path)), key=lambda path: (path.count("/"), path))
    folders = {Path(path).parent.name: Path(path).parent.as_posix() for path in found}
    if not folders:
        raise UserError(f"git revision {name} has no {REPORTS}/{REFERENCE}/<name>/network.json")
    cached = _cache(root)
    sides = {one: _at_revision(one, folder, commit, root, cached) for one, folder in sorted(folders.items())}
    return Source(f"git {name} ({commit[:7]})", sides)


def _at_revision(name: str, folder: str, commit: str, root: Path, cached: Reader) -> Side:
    def read(path: str) -> bytes | None:
        return git(root, "show", f"{commit}:./{path}")

    hashes = _locked(read("dvc.lock")) | _locked(read(f"{folder}/dvc.lock"))
    return _benchmark(name, lambda file: read(f"{folder}/{file}"), _by_hash(cached, hashes))


def _locked(lock: bytes | None) -> dict[str, str]:
    """From path to md5, of the outputs in a dvc.lock."""
    stages = (yaml.safe_load(lock) or {}).get("stages", {}) if lock else {}
    outs = [out for stage in stages.values() for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs if "md5" in out}


def _cache(root: Path) -> Reader:
    """Reads a file of the DVC cache by its md5."""
    try:
        store = Repo(str(root)).cache.local
    except DvcException:
        return lambda md5: None
    return lambda md5: _bytes(Path(store.oid_to_path(md5)))


def _benchmark(name: str, report: Reader, stored: Reader) -> Side:
    """A benchmark from its small report files, and from its predictions if they belong to them."""
    baseline, compare = _json(name, "network", report), _json(name, "compare", report)
    networks = {"baseline": "baseline"}
    with _named("compare.json", name):
        networks |= {short: str(compare[key]["config_id"]) for short, key in EDITS.items() if key in compare}
    metrics = _flat("baseline", {images: baseline[images] for images in IMAGE_SETS if images in baseline})
    with _named("configs.csv", name):
        for row in csv.DictReader(io.StringIO((report("configs.csv") or b"").decode())):
            for short in (short for short in EDITS if networks.get(short) == row["config_id"]):
                measured = {key: value for key, value in row.items() if key and key not in NO_METRIC}
                metrics |= _flat(f"{short}_{row['images']}", measured)
    for other in OTHERS:
        metrics |= _flat(other, _json(name, other, report))
    with _named("network.json", name):
        sizes = {images: int(baseline[images]["images"]) for images in IMAGE_SETS if images in baseline}
    found, why = _answers(name, stored)
    if found is not None and not agrees(found, networks, metrics):
        found, why = None, "the predictions at hand are of other results than these reports"
    return Side(metrics, sizes, networks, found, why, bool(baseline.get("limited")))


@contextmanager
def _named(file: str, name: str) -> Iterator[None]:
    """Tells what a report file of another form raises in one line that names it."""
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, csv.Error) as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
        raise UserError(f"{file} of benchmark {name} is not of its form ({what})") from None


def _answers(name: str, stored: Reader) -> tuple[Answers | None, str]:
    paths = [*(f"artifacts/{name}/{file}" for file in answers.FILES), f"data/{name}/index.parquet"]
    parts = {path: stored(path) for path in paths}
    missing = [path for path, part in parts.items() if part is None]
    if missing:
        return None, f"no {missing[0]} of that result is at hand"
    predictions, ids, index = (part for part in parts.values() if part is not None)
    card = stored(f"data/{name}/dataset.json")
    return readable(lambda: of_benchmark(predictions, ids, index, card), f"benchmark {name}"), ""


def _json(name: str, metrics: str, report: Reader) -> dict[str, Any]:
    """A metrics file, maybe under its earlier name; empty if it is not there."""
    file, content = f"{metrics}.json", report(f"{metrics}.json")
    if content is None and metrics in EARLIER:
        file, content = f"{EARLIER[metrics]}.json", report(f"{EARLIER[metrics]}.json")
    try:
        values = {} if content is None else json.loads(content)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise UserError(f"{file} of benchmark {name} is not valid JSON")
    if content is not None and not values:
        raise UserError(f"{file} of benchmark {name} holds nothing; expected its metrics")
    return values


def current_name(metric: str) -> str:
    """A metric's name in this version.

    >>> current_name("proof_lin3_emotions_wpmi_units"), current_name("test_accuracy")
    ('held_out_output_layer_concept_sets_emotions_wpmi_units', 'test_accuracy')
    """
    now = re.sub("^proof_", "held_out_", metric)
    return re.sub("^held_out_lin3_", "held_out_output_layer_concept_sets_", now)


def _flat(above: str, values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among nested values or texts, their names joined."""

    def walk(prefix: str, inner: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
        for key, value in inner.items():
            if isinstance(value, Mapping):
                yield from walk(f"{prefix}_{key}", value)
            elif not isinstance(value, bool | None | list):
                try:
                    number = float(value)
                except (ValueError, TypeError, OverflowError):
                    continue
                if abs(number) < float("inf"):
                    yield f"{prefix}_{key}", number

    return {current_name(metric): number for metric, number in walk(above, values)}
