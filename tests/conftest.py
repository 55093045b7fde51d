"""Shared by all tests: tests may import helper modules that lie beside them."""

import gc
import os
import shutil
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: the cores are shared by as many workers
    os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))
from made_once import made_once

# Parts of the campaign, which is run as a script.
collect_ignore = [str(path) for path in (Path(__file__).parent / "faults").glob("[!t]*.py")]
collect_ignore += [str(Path(__file__).parent / "faults" / "tiny.py")]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays: the garbage collector need not look at its millions of objects again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_finish() -> None:
    """Networks are exported once, not in each test (see exports.py)."""
    if (graph := sys.modules.get("emobench.networks.graph")) is not None:
        from exports import remembered

        graph._exported = remembered(graph._exported)


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """Params and layout of a small benchmark that all stages before the report ran; made once, not to be changed."""
    from reporting.real_run import real_params, real_run

    from emobench.layout import Layout

    params = real_params()
    return params, Layout(params.name, made_once(tmp_path_factory.getbasetemp(), "real", real_run))


@pytest.fixture
def real_copy(real, tmp_path):
    """The same in a folder of the test's own, to be changed."""
    from emobench.layout import Layout

    params, layout = real
    shutil.copytree(layout.root, tmp_path / "real")
    return params, Layout(params.name, tmp_path / "real")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """The file of an empty MLflow store, made once: setting one up takes seconds, copying it doesn't."""
    from emobench.tracking.tracker import MlflowClient

    def make(folder: Path) -> None:
        MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()

    return made_once(tmp_path_factory.getbasetemp(), "store", make) / "mlflow.db"
