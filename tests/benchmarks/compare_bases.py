"""Says what got slower since another commit: python tests/benchmarks/compare_bases.py [--base main] [-k NAME]

Runs this checkout's benchmarks against the base's package and against this one's, in turns, in this environment. The
base is checked out into a temporary folder. A part's time is its processor time in its own plain ways: what else the
machine does, and a slow machine, cancel. A part that doesn't run with one of the packages is named with the reason.
Exit code 1 where a part got slower by more than ``--tolerance`` in every round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TOLERANCE = 0.15


@contextmanager
def checked_out(base: str, folder: Path) -> Iterator[Path]:
    """A worktree of the base, and gone afterwards."""
    git = ["git", "-C", str(ROOT), "worktree"]
    done = subprocess.run([*git, "add", "--quiet", "--detach", str(folder), base], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench-compare: can't check out {base!r}: {done.stderr.strip().splitlines()[-1]}")
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def measure(package: Path, tests: list[str], extra: list[str], folder: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Time of each part in plain ways with the emobench in ``package``, and why others did not run."""
    result, report = folder / "result.json", folder / "report.xml"
    result.unlink(missing_ok=True)
    options = ["--benchmark-only", "--benchmark-disable-gc", "-q", f"--benchmark-json={result}", f"--junitxml={report}"]
    # The folder that Python starts in comes first on its path: one without an emobench.
    environment = os.environ | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    used = subprocess.run([sys.executable, "-c", "import emobench; print(emobench.__file__)"], cwd=folder,
                          env=environment, capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    if not Path(used).is_relative_to(package):
        sys.exit(f"bench-compare: emobench comes from {used}, not from {package}")
    command = [sys.executable, "-m", "pytest", *tests, *options, *extra]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if not report.exists():
        sys.exit(
            f"bench-compare: pytest ended with exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return times_of(json.loads(result.read_text())["benchmarks"] if result.exists() else []), reasons_of(report)


def times_of(benchmarks: list[dict]) -> dict[str, float]:
    """Median time of each benchmark that counts in plain ways."""
    return {one["name"]: one["stats"]["median"] for one in benchmarks if "ratio" in one["extra_info"]}


def reasons_of(report: Path) -> dict[str, str]:
    """First line of what each test of a JUnit report failed or was skipped with; not of a floor that was missed."""
    found = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        for outcome in case:
            if outcome.tag in ("failure", "error", "skipped"):
                text = outcome.get("message") or outcome.text or outcome.tag
                found[case.get("name")] = text.strip().splitlines()[0]
    return found


def summarised(
    rounds: list[tuple[dict[str, float], dict[str, float]]], tolerance: float
) -> tuple[list[tuple[str, float, str]], bool]:
    """Each part's time now over its time with the base (median of the rounds), and a word; whether any got slower."""
    quotients = defaultdict(list)
    for base, now in rounds:
        for name in base.keys() & now.keys():
            quotients[name].append(now[name] / base[name])
    rows = []
    for name, values in quotients.items():
        slower, quicker = min(values) > 1 + tolerance, max(values) < 1 / (1 + tolerance)
        rows.append((name, statistics.median(values), "SLOWER" if slower else "quicker" if quicker else "same"))
    rows.sort(key=lambda row: -row[1])
    return rows, any(word == "SLOWER" for _, _, word in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", default="main", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=2, help="how often both sides run, in turns")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="share of the time that counts as slower")
    parser.add_argument("--tests", nargs="+", default=[str(HERE / "test_waits.py")], help="benchmark files")
    parser.add_argument("-k", dest="only", default="", help="only the parts whose names match, as in pytest")
    options = parser.parse_args()
    extra = ["-k", options.only] if options.only else []
    tests = [str(Path(one).resolve()) for one in options.tests]
    with tempfile.TemporaryDirectory() as folder, checked_out(options.base, Path(folder) / "base") as base:
        sides = {options.base: base, "now": ROOT}
        neutral = Path(folder) / "neutral"
        neutral.mkdir()
        rounds, reasons = [], {side: {} for side in sides}
        for number in range(options.rounds):
            times = []
            for side, package in sides.items():
                print(f"round {number + 1} of {options.rounds}: {side}", file=sys.stderr, flush=True)
                found, missing = measure(package, tests, extra, neutral)
                times.append(found)
                reasons[side] |= missing
            rounds.append(tuple(times))
    rows, slower = summarised(rounds, options.tolerance)
    for name, quotient, word in rows:
        print(f"{name:45} {quotient:6.2f} times the time with {options.base}  {word}")
    for side, missing in reasons.items():
        for name, reason in missing.items():
            print(f"{name:45} not compared or below its floor with {side}: {reason}")
    return int(slower or not rows)


if __name__ == "__main__":
    sys.exit(main())
