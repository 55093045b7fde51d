"""Here every network is really exported: tests/exports.py is for what only uses graphs."""

import pytest

from emobench.networks import graph

EXPORT = graph._exported


@pytest.fixture(autouse=True)
def _no_graph_is_taken_again(monkeypatch) -> None:
    monkeypatch.setattr(graph, "_exported", EXPORT)
