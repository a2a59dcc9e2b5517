"""One Ray cluster for the whole session: two nodes on this machine with a token. Every process is gone afterwards."""

import importlib.util
import sys
from pathlib import Path

import psutil
import pytest

sys.path.append(str(Path(__file__).parents[2] / "notebooks/cluster"))  # what the notebook on clusters uses, too


@pytest.fixture(scope="session")
def cluster():
    """Two nodes; a test that kills one starts another."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'gaa-core[distributed]'")
    from local_cluster import LocalCluster, ray_processes

    with LocalCluster(nodes=2) as cluster:
        yield cluster
        started = ray_processes()
    assert len(started) > 4
    assert psutil.wait_procs(list(started), timeout=20)[1] == []


@pytest.fixture(scope="session")
def _engine(cluster):
    from failing_workers import FaultyEngine

    with FaultyEngine(workers=5, address=cluster.address) as engine:
        yield engine


@pytest.fixture
def engine(_engine, monkeypatch):
    """Five workers that many tests share, since Ray processes take seconds to start: `engine(*faults, **settings)`
    gives the engine with these for the time of a test.
    """

    def changed(*faults, **settings):
        for name, value in {"faults": faults, **settings}.items():
            monkeypatch.setattr(_engine, name, value)
        return _engine

    return changed
