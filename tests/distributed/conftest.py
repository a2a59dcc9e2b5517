"""One Ray cluster for the whole session: two nodes on this machine with a token. Every process is gone afterwards."""

from __future__ import annotations

import importlib.util

import pytest

from gaa_core.distributed import LocalCluster, RayEngine


@pytest.fixture(scope="session")
def cluster():
    """Two nodes; a test that kills one starts another."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'gaa-core[distributed]'")
    cluster = LocalCluster(nodes=2)
    with cluster:
        yield cluster
        started = [process for node in cluster.nodes for process in node.everybody()]
    assert [process for process in started if process.is_running()] == []


@pytest.fixture(scope="session")
def engine(cluster):
    """Five workers that many tests share; Ray processes take seconds to start."""
    with RayEngine(workers=5, address=cluster.address, timeout_s=30.0) as engine:
        yield engine


@pytest.fixture
def faulty(engine):
    """A function that puts faults into the workers of the next run, for the time of a test."""
    before = engine.faults, engine.timeout_s

    def change(*faults, timeout_s: float = 30.0):
        engine.faults, engine.timeout_s = faults, timeout_s
        return engine

    yield change
    engine.faults, engine.timeout_s = before
