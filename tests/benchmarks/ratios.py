"""Runs the benchmarks, prints how many times faster each function is than its yardstick, and judges that.

A ratio is the yardstick's shortest time by the function's, per unit, both from this run: a slow machine slows both. The
yardstick is the plain loop over units or, for the cosines, the bare matrix product. floors.json holds what each ratio
must reach, and the largest peak memory of a process that calls all functions at a size. Writes reports/benchmarks.json;
exit code 1 where a floor is missed.
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


def run_benchmarks():
    """pytest-benchmark's results, and whether every benchmark passed."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        options = ["--benchmark-only", "--benchmark-disable-gc", "-q", f"--benchmark-json={result}"]
        done = subprocess.run([sys.executable, "-m", "pytest", str(HERE), *options], cwd=HERE.parents[1])
        if not result.exists():
            sys.exit(f"no benchmark results: pytest ended with exit code {done.returncode}")
        return json.loads(result.read_text()), done.returncode == 0


def ratios_of(benchmarks, floors):
    """Ratio and floor by name: of pairs in floors.json, and of benchmarks that know their own."""
    times, ratios = {}, {}
    for benchmark in benchmarks:
        info = benchmark["extra_info"]
        if "way" in info:
            times[benchmark["group"], info["way"]] = benchmark["stats"]["min"] / info["units"]
        else:
            ratios[benchmark["name"]] = info["ratio"], info["least_ratio"]
    return ratios | {name: (times[name, "plain"] / times[name, "fast"], floor) for name, floor in floors.items()}


def peak_memory(size):
    """GiB that a process needs which calls all five functions, its inputs included."""
    command = [sys.executable, __file__, "--peak-of", size]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def call_all(size):
    """Calls all functions at a size and prints the peak memory of this process."""
    import yardstick

    from emobench.functional import similarity

    inputs = yardstick.draw(*yardstick.SIZES[size])
    for function in (similarity.soft_wpmi, similarity.wpmi, similarity.cos_similarity, similarity.cos_similarity_cubed):
        function(*inputs)
    similarity.rank_reorder(*inputs, generator=torch.Generator().manual_seed(0))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def main():
    floors = json.loads((HERE / "floors.json").read_text())
    measured, passed = run_benchmarks()
    ratios = ratios_of(measured["benchmarks"], floors["ratios"])
    peaks = {size: (peak_memory(size), ceiling) for size, ceiling in floors["peak_gib"].items()}
    far = {
        one["name"]: one["extra_info"]["times_arithmetic_limit"]
        for one in measured["benchmarks"]
        if "times_arithmetic_limit" in one["extra_info"]
    }
    for name, (ratio, floor) in ratios.items():
        print(f"{name:40} {ratio:8.2f} times the yardstick's speed, floor {floor}{'  MISSED' * (ratio < floor)}")
    for name, times in far.items():
        print(f"{name:40} {times:8.2f} times the time that its multiplications need at this machine's product speed")
    for size, (peak, ceiling) in peaks.items():
        print(f"{size:40} {peak:8.2f} GiB at most, ceiling {ceiling}{'  MISSED' * (peak > ceiling)}")
    report = {
        "cpu": measured["machine_info"]["cpu"].get("brand_raw", "unknown"),
        "threads": torch.get_num_threads(),
        "ratios": {name: {"ratio": round(ratio, 2), "floor": floor} for name, (ratio, floor) in ratios.items()},
        "times_arithmetic_limit": {name: round(times, 2) for name, times in far.items()},
        "peak_gib": {size: {"peak": round(peak, 2), "ceiling": ceiling} for size, (peak, ceiling) in peaks.items()},
    }
    write_json(REPORT, report)
    met = all(ratio >= floor for ratio, floor in ratios.values()) and all(peak <= most for peak, most in peaks.values())
    return 0 if passed and met else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak-of"]:
        call_all(sys.argv[2])
    else:
        sys.exit(main())
