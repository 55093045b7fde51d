"""The benchmarks run by ``make bench`` alone, and their table counts in plain ways."""

import json
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


def pytest_ignore_collect(collection_path, config):
    """Leaves the benchmarks to ``make bench``: minutes of work, and timings that want a quiet machine."""
    return True if collection_path.suffix == ".py" and not config.getoption("benchmark_only", False) else None


def pytest_benchmark_scale_unit(config, unit, benchmarks, best, worst, sort):
    """The heading of the table: what it counts are no seconds (see plain_ways)."""
    return ("plain way", 1.0) if unit == "seconds" else ("", 1.0)


@pytest.fixture(scope="session")
def floors():
    """Least ratio by benchmark."""
    return json.loads((HERE / "floors.json").read_text())["ratios"]
