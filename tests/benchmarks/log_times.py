"""Measures the logging of 1,000 configurations: python tests/benchmarks/log_times.py [--uri URI] [--configs N]

Makes a benchmark of that many edits, logs it into an empty SQLite store (or the one that --uri names), and prints JSON
with seconds, processor seconds, and how many runs there are. Exit code 1 where the goal is missed.
On a busy machine the seconds are too long; the processor seconds are not.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from reporting.small_results import small_params, write_results
from reporting.small_tracked import write_weights

from emobench.layout import Layout
from emobench.params import Params
from emobench.stages import track
from emobench.tracking.tracker import MlflowClient

GOAL = 30
FACTORS = 40
ARMS = 2  # beside the grid, each with every factor


def benchmark(root: Path, count: int) -> tuple[Params, Layout]:
    """A benchmark of ``count`` edits below ``root``, a multiple of FACTORS."""
    taus = [number / 8 for number in range(count // FACTORS - ARMS)]
    factors = [1.0, 1.5, *(2 + number / 20 for number in range(FACTORS - 2))]  # params allow 0 to 4
    params = small_params("fer2013", taus=taus, factors=factors)
    layout = write_results(root, params)
    write_weights(layout)
    return params, layout


def measure(count: int) -> dict:
    """Seconds, and what was logged in them; the store is the one that MLFLOW_TRACKING_URI names."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / ".dvc").mkdir()
        params, layout = benchmark(Path(folder), count)
        uri = os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        client = MlflowClient(uri)
        client.search_experiments()  # a fresh store sets itself up, once
        start, processor = time.perf_counter(), time.process_time()
        track.run(params, layout)
        times = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processor}
        runs = json.loads((layout.artifacts / "mlflow.json").read_text())["runs"]
    edits = sum(name.startswith("edit/") for name in runs)
    return {"store": uri.partition(":")[0], "configurations": edits, "runs": 1 + len(runs), **times}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--uri", help="the store, else a new SQLite file")
    parser.add_argument("--configs", type=int, default=1000, help=f"a multiple of {FACTORS}, {3 * FACTORS} at least")
    options = parser.parse_args()
    if options.uri:
        os.environ["MLFLOW_TRACKING_URI"] = options.uri
    else:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    found = measure(options.configs)
    found = {name: round(value, 1) if isinstance(value, float) else value for name, value in found.items()}
    print(json.dumps(found | {"load": os.getloadavg()[0], "goal_seconds": GOAL}))
    return int(found["seconds"] > GOAL * options.configs / 1000)


if __name__ == "__main__":
    sys.exit(main())
