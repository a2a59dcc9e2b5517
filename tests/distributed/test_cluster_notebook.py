"""The notebook on clusters runs from top to bottom. It needs Ray, so `make reproduce` leaves it out."""

import importlib.util

import papermill
import pytest


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra 'distributed')")
def test_the_notebook_runs(repository, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(repository))
    small = {"steps": 40, "killed_at": 5, "hung_at": 10, "d": 50_000, "rounds": 3, "figures_dir": str(tmp_path)}
    path = repository / "notebooks/cluster/09_cluster.ipynb"
    papermill.execute_notebook(
        str(path), str(tmp_path / "out.ipynb"), parameters=small, progress_bar=False, cwd=str(path.parent)
    )
    assert (tmp_path / "cluster_absences.png").exists()
