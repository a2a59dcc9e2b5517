"""Sweeps on a Ray cluster: the same table, the same cache, results written here only."""

import pytest

from gaa_core.aggregators import GAA, Krum, Mean
from gaa_core.cases import MNIST
from gaa_core.errors import UnknownName
from gaa_core.sweep import SweepFailed, experiment, pending, sweep

SMALL = {"steps": 4, "batch_size": 8, "lr": 0.05}


@pytest.mark.slow
def test_a_sweep_on_ray_gives_the_table_of_one_here(cluster, tmp_path):
    runs = [experiment(MNIST, rule, **SMALL, seed=seed) for rule in (Mean(), GAA()) for seed in range(2)]
    here = sweep(runs, results=tmp_path / "here", jobs=1)
    there = sweep(runs, results=tmp_path / "there", backend="ray", address=cluster.address)
    assert there.table.equals(here.table)
    assert pending(runs, tmp_path / "there") == []
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "there").rglob("*")}
    sweep(runs, results=tmp_path / "there", backend="ray", address=cluster.address)
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "there").rglob("*")}
    broken = [*runs[:1], experiment(MNIST, Krum(f=4), **SMALL)]
    with pytest.raises(SweepFailed, match=r"1 of 2 runs failed.*needs at least 11 workers"):
        sweep(broken, results=tmp_path / "there", backend="ray", address=cluster.address)
    assert pending(broken, tmp_path / "there") == broken[1:]


def test_an_unknown_backend_is_helped(tmp_path):
    with pytest.raises(UnknownName, match="ray"):
        sweep([], results=tmp_path, backend="rya")
