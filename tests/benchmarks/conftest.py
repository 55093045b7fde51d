def pytest_ignore_collect(collection_path, config):
    """Leaves the benchmarks to ``make bench``: minutes of work, and timings that want a quiet machine."""
    return True if collection_path.suffix == ".py" and not config.getoption("benchmark_only", False) else None
