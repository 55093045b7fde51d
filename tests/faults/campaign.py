"""Mutates every file that a stage reads and every key of params.yaml, kills stages and fills disks, and counts.

    python tests/faults/campaign.py [--files 700] [--params 300] [--kills 100] [--disks 60] [--seed 0] [--jobs 2]

--log FILE keeps what came of each: the same command goes on where it was stopped, and tries again what came out badly.
--report FOLDER writes the counts there.

What may come of a fault is one line on standard error that names the file (or key) and the cause, and a code that is
not 0; or the same results as without it. Anything else is counted as such, told, and makes the exit code 1.
"""

import argparse
import gc
import hashlib
import importlib
import json
import os
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import disks
import keys
import numpy as np
import tiny
from counting import GOOD, LINE, OTHER, SAME, TRACEBACK, UNNAMED, Fault, Log, Outcome, revision, table, write_report
from mutations import linked, mutations_of
from processes import Done, run
from reads import stage_files


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
        return Outcome(fault, TRACEBACK, text)
    if done.code == 0:
        other = same()
        return Outcome(fault, SAME if not other else OTHER, other)
    if len(lines) != 1:
        return Outcome(fault, f"{len(lines)} lines", text)
    return Outcome(fault, LINE if named(lines[0]) else UNNAMED, lines[0])


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
        before = _used()
        found = globals()[f"_{fault.act}"](fault, folder, known[fault.benchmark])
        return replace(found, seconds=round(_used() - before, 2))


def _used() -> float:
    """Processor seconds of this process and those that it waited for."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


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
    seconds = json.loads((folder.parents[1] / "made" / "seconds.json").read_text())
    run([fault.stage], folder, kill_after=fault.what[0] * seconds[fault.stage])
    done = run([fault.stage], folder)

    def same() -> str:
        left = [path.name for path in folder.rglob(".*tmp*") if path.exists()]
        return _other(folder, known) or (f"left {left}" if left else "")

    return judged(fault, done, lambda line: False, same)


def _disk(fault: Fault, folder: Path, known: dict[str, str]) -> Outcome:
    done = disks.run_full(fault.stage, folder, *fault.what)
    return judged(fault, done, lambda line: "space" in line or "large" in line, lambda: "")


def fair(found: list[tuple], rng: np.random.Generator) -> Iterator[Fault]:
    """Faults in a random order, in which every file and key comes once before any comes twice."""
    before, turns = Counter(), []
    for place in rng.permutation(len(found)):
        key = (*found[place][1:3], found[place][3][0])
        turns.append((before[key], place))
        before[key] += 1
    for _, place in sorted(turns, key=lambda turn: turn[0]):
        yield Fault(*found[place], seed=int(place))


def file_faults(made: Path, rng: np.random.Generator) -> Iterator[Fault]:
    """Every mutation of every file that a stage reads."""
    found = []
    for benchmark in ("tiny", "own"):
        for stage, names in stage_files(made / benchmark).items():
            for name in names:
                found += [
                    ("file", benchmark, stage, (name, mutation)) for mutation in mutations_of(made / benchmark / name)
                ]
    yield from fair(found, rng)


def key_faults(made: Path, rng: np.random.Generator) -> Iterator[Fault]:
    """Hostile values for every key of both params.yaml."""
    found = [
        ("key", name, "validate", (place, value))
        for name in ("tiny", "own")
        for place, value in keys.hostile(made / name / "params.yaml")
    ]
    yield from fair(found, rng)


def kill_faults(made: Path, rng: np.random.Generator) -> Iterator[Fault]:
    """Kills at random points of all stages: after a share of the time that the stage takes."""
    for number in range(10**6):
        stage = tiny.STAGES[number % (len(tiny.STAGES) - 1)]
        yield Fault("kill", "tiny", stage, (round(float(rng.uniform(0.02, 1.0)), 3),), number)


def disk_faults(made: Path, rng: np.random.Generator) -> Iterator[Fault]:
    """Disks, or bounds on the size of a file, that are full at a random point."""
    for number in range(10**6):
        stage = tiny.STAGES[number % (len(tiny.STAGES) - 1)]
        kind = disks.KINDS[number // len(tiny.STAGES) % len(disks.KINDS)]
        yield Fault("disk", "tiny", stage, (kind, int(2 ** rng.uniform(9, 19))), number)


def campaign(counts: dict[str, int], seed: int, jobs: int, room: Path, log: Log, minutes: float) -> list[Outcome]:
    """Makes the benchmarks and tries so many faults of each kind, but no longer than so many minutes."""
    end = time.monotonic() + 60 * minutes
    prepared()
    made = room / "made"
    if not made.is_dir():
        finished = tiny.made(room / "unfinished")
        seconds = {stage: run([stage], finished / "tiny").seconds for stage in tiny.STAGES}
        (finished / "seconds.json").write_text(json.dumps(seconds))
        finished.rename(made)
    known = {name: digests(made / name) for name in ("tiny", "own")}
    # Each has a generator of its own: how many of one kind are asked for changes nothing in another.
    kinds = {"files": file_faults, "params": key_faults, "kills": kill_faults, "disks": disk_faults}
    turns = [
        (number / counts[kind], fault)
        for place, (kind, make) in enumerate(kinds.items())
        for number, fault in enumerate(islice(make(made, np.random.default_rng([seed, place])), counts[kind]))
    ]
    # In turns: a campaign that is stopped has tried some of each kind.
    faults = [fault for _, fault in sorted(turns, key=lambda turn: turn[0])]
    found = {fault: log.good(fault) for fault in faults}
    left, of = [fault for fault in faults if found[fault] is None], revision()
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        for one in pool.map(try_fault, left, [made] * len(left), [known] * len(left)):
            if time.monotonic() > end:
                pool.shutdown(wait=False, cancel_futures=True)
                break
            found[one.fault] = one = replace(one, revision=of)
            log.add(one)
            if one.word not in GOOD:
                print(f"{one.word}: {one.fault}\n    {one.text[-600:]}".replace("\n", "\n    "), flush=True)
    return [outcome for outcome in found.values() if outcome]


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
    # Else the collector writes to all that was imported, and each forked process gets a copy of it.
    gc.collect()
    gc.freeze()


def main() -> int:
    """Runs the campaign and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, count in (("files", 700), ("params", 300), ("kills", 100), ("disks", 60)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--room", type=Path, help="keep the benchmarks here, and take those that are there")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop then, and tell of what was tried")
    parser.add_argument("--log", type=Path, help="keep outcomes here; what is there and good is not tried again")
    parser.add_argument("--report", type=Path, help="write campaign.csv and README.md into this folder")
    options = vars(parser.parse_args())
    seed, jobs, kept, log, folder = (options.pop(name) for name in ("seed", "jobs", "room", "log", "report"))
    minutes = options.pop("minutes")
    room = kept or Path(tempfile.mkdtemp(prefix="emobench-faults-"))
    try:
        found = campaign(options, seed, jobs, room, Log(log), minutes)
    finally:
        if kept is None:
            shutil.rmtree(room)
    bad = sum(one.word not in GOOD for one in found)
    print(f"{table(found)}\n{len(found)} faults, {bad} of them came to anything else")
    if folder:
        asked = " ".join(f"--{name} {count}" for name, count in options.items())
        write_report(folder, found, f"tests/faults/campaign.py {asked} --seed {seed}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
