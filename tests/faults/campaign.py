"""Mutates every file that a stage reads and every key of params.yaml, kills stages and fills disks, and counts.

    python tests/faults/campaign.py [--files 1000] [--params 500] [--kills 100] [--disks 60] [--seed 0] [--jobs 2]

What may come of a fault is one line on standard error that names the file (or key) and the cause, and a code that is
not 0; or the same results as without it. Anything else is counted as such, told, and makes the exit code 1.
"""

import argparse
import hashlib
import importlib
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import disks
import keys
import numpy as np
import tiny
from mutations import linked, mutations_of
from processes import Done, run
from reads import stage_files

SAME, LINE = "same results", "one clear line"
GOOD = (SAME, LINE)


@dataclass(frozen=True)
class Fault:
    """What is done before or while a command runs: ``act`` is the name of a function here, ``what`` its argument."""

    act: str
    benchmark: str
    stage: str
    what: tuple
    seed: int

    def __str__(self) -> str:
        return f"{self.act}: {self.benchmark} {self.stage}: {' '.join(map(str, self.what))}"


@dataclass(frozen=True)
class Outcome:
    """What came of a fault, in a word, and what was printed."""

    fault: Fault
    word: str
    text: str


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every result below a folder; logs, costs and what a tracking store makes of times are none.

    Nor are notes of what a stage was given (emobench.seen): they tell truly of a file that was damaged.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        odd = ("stage_costs", "mlflow.db", "mlartifacts/", "mlflow.json", "data/raw/", "clip.json~", "/seen/")
        if path.is_file() and not any(part in name for part in odd) and name != "params.yaml":
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def judged(fault: Fault, done: Done, named: Callable[[str], bool], same: Callable[[], str]) -> Outcome:
    """The word for what a command did; ``same`` gives the first result that is another one, or nothing."""
    lines = [line for line in done.err.splitlines() if line.startswith("emobench: ")]
    text = done.err.strip()[-1500:]
    if done.code < 0:
        return Outcome(fault, f"killed by signal {-done.code}", text)
    if "Traceback" in done.err:
        return Outcome(fault, "traceback", text)
    if done.code == 0:
        other = same()
        return Outcome(fault, SAME if not other else "accepted, other results", other)
    if len(lines) != 1:
        return Outcome(fault, f"{len(lines)} lines", text)
    return Outcome(fault, LINE if named(lines[0]) else "line without file or key", lines[0])


def try_fault(fault: Fault, made: Path, known: dict[str, dict[str, str]]) -> Outcome:
    """Runs one fault in a copy of the benchmark."""
    with tempfile.TemporaryDirectory(prefix="faults-", dir=made.parent) as room:
        folder = Path(room) / fault.benchmark
        linked(made / fault.benchmark, folder)
        for name in ("artifacts/stage_costs.jsonl", "mlflow.db"):
            if (folder / name).is_file():
                content = (folder / name).read_bytes()
                (folder / name).unlink()
                (folder / name).write_bytes(content)
        return globals()[f"_{fault.act}"](fault, folder, known[fault.benchmark])


def _other(folder: Path, known: dict[str, str], but: tuple[str, ...] = ()) -> str:
    now = digests(folder)
    differing = [name for name in known if now.get(name) != known[name] and name not in but]
    return f"{differing[0]} and {len(differing) - 1} more" if differing else ""


def _file(fault: Fault, folder: Path, known: dict[str, str]) -> Outcome:
    name, mutation = fault.what
    path = folder / name
    mutations_of(path)[mutation](path, np.random.default_rng(fault.seed))
    done = run([fault.stage], folder)
    # A file of a folder that is read as a whole (activations, a model's) may be named by its folder.
    words = {path.name, path.stem if path.suffix == ".npy" else path.name}
    return judged(fault, done, lambda line: any(word in line for word in words), lambda: _other(folder, known, (name,)))


def _key(fault: Fault, folder: Path, known: dict[str, str]) -> Outcome:
    place, _ = fault.what
    keys.changed(folder / "params.yaml", place, fault.what[1])
    last = re.sub(r"\[\d+\]", "", place).split(".")[-1]
    done = run(["validate"], folder, before=keys.bounded)
    if done.code == 0:
        for stage in keys.stages_of(place, fault.benchmark):
            done = run([stage], folder, before=keys.bounded)
            if done.code:
                break
    return judged(fault, done, lambda line: last in line or place.split(".")[0] in line, lambda: "")


def _kill(fault: Fault, folder: Path, known: dict[str, str]) -> Outcome:
    run([fault.stage], folder, kill_after=float(fault.what[0]))
    done = run([fault.stage], folder)

    def same() -> str:
        left = [path.name for path in folder.rglob(".*tmp*") if path.exists()]
        return _other(folder, known) or (f"left {left}" if left else "")

    return judged(fault, done, lambda line: False, same)


def _disk(fault: Fault, folder: Path, known: dict[str, str]) -> Outcome:
    done = disks.run_full(fault.stage, folder, *fault.what)
    return judged(fault, done, lambda line: "space" in line or "large" in line, lambda: "")


def file_faults(made: Path, rng: np.random.Generator) -> Iterator[Fault]:
    """Every mutation of every file that a stage reads, in an order that repeats no stage or file for long."""
    found = []
    for benchmark in ("tiny", "own"):
        for stage, names in stage_files(made / benchmark).items():
            for name in names:
                found += [
                    ("file", benchmark, stage, (name, mutation)) for mutation in mutations_of(made / benchmark / name)
                ]
    for place in rng.permutation(len(found)):
        yield Fault(*found[place], seed=int(place))


def key_faults(made: Path, rng: np.random.Generator) -> Iterator[Fault]:
    """Hostile values for every key of both params.yaml."""
    found = [
        ("key", name, "validate", (place, value))
        for name in ("tiny", "own")
        for place, value in keys.hostile(made / name / "params.yaml")
    ]
    for place in rng.permutation(len(found)):
        yield Fault(*found[place], seed=int(place))


def kill_faults(made: Path, rng: np.random.Generator, seconds: dict[str, float]) -> Iterator[Fault]:
    """Kills at random points of all stages."""
    for number in range(10**6):
        stage = tiny.STAGES[number % (len(tiny.STAGES) - 1)]
        yield Fault("kill", "tiny", stage, (round(float(rng.uniform(0.02, 1.0)) * seconds[stage], 3),), number)


def disk_faults(made: Path, rng: np.random.Generator) -> Iterator[Fault]:
    """Disks, or bounds on the size of a file, that are full at a random point."""
    for number in range(10**6):
        stage = tiny.STAGES[number % (len(tiny.STAGES) - 1)]
        kind = disks.KINDS[number // len(tiny.STAGES) % len(disks.KINDS)]
        yield Fault("disk", "tiny", stage, (kind, int(2 ** rng.uniform(9, 19))), number)


def campaign(counts: dict[str, int], seed: int, jobs: int, room: Path) -> list[Outcome]:
    """Makes the benchmarks and tries so many faults of each kind."""
    prepared()
    made = room / "made"
    if not made.is_dir():
        tiny.made(room / "unfinished").rename(made)
    known = {name: digests(made / name) for name in ("tiny", "own")}
    seconds = {stage: run([stage], made / "tiny").seconds for stage in (tiny.STAGES if counts.get("kills") else ())}
    rng = np.random.default_rng(seed)
    kinds = {
        "files": file_faults(made, rng), "params": key_faults(made, rng),
        "kills": kill_faults(made, rng, seconds), "disks": disk_faults(made, rng),
    }  # fmt: skip
    faults = [one for kind, count in counts.items() for one in islice(kinds[kind], count)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        done = pool.map(try_fault, faults, [made] * len(faults), [known] * len(faults))
        found = []
        for one in done:
            found.append(one)
            if one.word not in GOOD:
                print(f"{one.word}: {one.fault}\n    {one.text[-600:]}".replace("\n", "\n    "), flush=True)
    return found


def prepared() -> None:
    """Imports all that the stages import, and lets what is compiled be compiled: forked processes have it then."""
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    import torch

    from emobench.progress import SPEAKER

    torch.set_num_threads(1)
    SPEAKER._threaded = False
    for stage in tiny.STAGES:
        importlib.import_module(f"emobench.stages.{stage}")
    for module in ("emobench.inputs.checking", "torch.export", "torch._dynamo", "matplotlib.pyplot"):
        importlib.import_module(module)


def table(found: list[Outcome]) -> str:
    """How often what came of which kind of fault."""
    names = {"file": "files", "key": "params", "kill": "kills", "disk": "disks"}
    rows = Counter((names[one.fault.act], one.word) for one in found)
    words = sorted({word for _, word in rows}, key=lambda word: (word not in GOOD, word))
    lines = [f"{'':28}" + "".join(f"{name:>8}" for name in names.values()) + f"{'all':>8}"]
    for word in words:
        cells = [rows[name, word] for name in names.values()]
        lines.append(f"{word:28}" + "".join(f"{cell:8}" for cell in cells) + f"{sum(cells):8}")
    return "\n".join(lines)


def main() -> int:
    """Runs the campaign and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, count in (("files", 1000), ("params", 500), ("kills", 100), ("disks", 60)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--room", type=Path, help="keep the benchmarks here, and take those that are there")
    options = vars(parser.parse_args())
    seed, jobs, kept = options.pop("seed"), options.pop("jobs"), options.pop("room")
    room = kept or Path(tempfile.mkdtemp(prefix="emobench-faults-"))
    try:
        found = campaign(options, seed, jobs, room)
    finally:
        if kept is None:
            shutil.rmtree(room)
    bad = sum(one.word not in GOOD for one in found)
    print(f"{table(found)}\n{len(found)} faults, {bad} of them came to anything else")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
