"""Runs the benchmarks, prints how many times faster each is than its yardstick, and judges that.

A ratio is the yardstick's shortest time by the tool's, both from this run: a slow machine slows both. The yardstick is
a plain way to do the same or, for the cosines, training, recording and embedding, what can't be done without.
floors.json holds what each ratio must reach, and the largest peak memory of a process that calls all functions at a
size. What is given beside goes to pytest: ``--benchmark-compare --benchmark-compare-fail=median:20%`` fails where a
part takes a fifth more plain ways than in the last run kept. Writes reports/benchmarks.json where nothing is given.
Exit code 1 where a floor is missed.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from emobench.files import write_json

HERE = Path(__file__).parent
REPORT = HERE.parents[1] / "reports" / "benchmarks.json"


def run_benchmarks(options):
    """pytest-benchmark's results, and whether every benchmark passed; they are kept in .benchmarks as well."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        always = ["--benchmark-only", "--benchmark-disable-gc", "--benchmark-autosave", "-q", "-rs"]
        command = [sys.executable, "-m", "pytest", str(HERE), *always, f"--benchmark-json={result}", *options]
        done = subprocess.run(command, cwd=HERE.parents[1])
        if not result.exists():
            sys.exit(f"no benchmark results: pytest ended with exit code {done.returncode}")
        return json.loads(result.read_text()), done.returncode == 0


def peak_memory(size):
    """GiB that a process needs which calls all five functions, its inputs included."""
    command = [sys.executable, __file__, "--peak-of", size]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def call_all(size):
    """Calls all functions at a size and prints the peak memory of this process."""
    import yardstick

    from emobench.functional.similarity import scores as similarity

    inputs = yardstick.draw(*yardstick.SIZES[size])
    for function in (similarity.soft_wpmi, similarity.wpmi, similarity.cos_similarity, similarity.cos_similarity_cubed):
        function(*inputs)
    similarity.rank_reorder(*inputs, generator=torch.Generator().manual_seed(0))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def main(options):
    floors = json.loads((HERE / "floors.json").read_text())
    measured, passed = run_benchmarks(options)
    ratios = {
        one["name"]: (one["extra_info"]["ratio"], one["extra_info"]["least_ratio"]) for one in measured["benchmarks"]
    }
    peaks = {size: (peak_memory(size), ceiling) for size, ceiling in floors["peak_gib"].items()}
    far = {
        one["name"]: one["extra_info"]["times_arithmetic_limit"]
        for one in measured["benchmarks"]
        if "times_arithmetic_limit" in one["extra_info"]
    }
    for name, (ratio, floor) in ratios.items():
        print(f"{name:50} {ratio:8.2f} times the yardstick's speed, floor {floor:.3g}{'  MISSED' * (ratio < floor)}")
    for name, times in far.items():
        print(f"{name:40} {times:8.2f} times the time that its multiplications need at this machine's product speed")
    for size, (peak, ceiling) in peaks.items():
        print(f"{size:40} {peak:8.2f} GiB at most, ceiling {ceiling}{'  MISSED' * (peak > ceiling)}")
    report = {
        "cpu": measured["machine_info"]["cpu"].get("brand_raw", "unknown"),
        "threads": torch.get_num_threads(),
        "ratios": {
            name: {"ratio": round(ratio, 2), "floor": round(floor, 2)} for name, (ratio, floor) in ratios.items()
        },
        "times_arithmetic_limit": {name: round(times, 2) for name, times in far.items()},
        "peak_gib": {size: {"peak": round(peak, 2), "ceiling": ceiling} for size, (peak, ceiling) in peaks.items()},
    }
    if not options:
        write_json(REPORT, report)
    met = all(ratio >= floor for ratio, floor in ratios.values()) and all(peak <= most for peak, most in peaks.values())
    return 0 if passed and met else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak-of"]:
        call_all(sys.argv[2])
    else:
        sys.exit(main(sys.argv[1:]))
