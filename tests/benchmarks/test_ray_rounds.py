"""Rounds on Ray without compute, and steps of a run on Ray against the local engine. `make bench`; no verdicts.

pytest tests/benchmarks/test_ray_rounds.py --benchmark-only -s
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gaa_core.aggregators import Mean
from gaa_core.cases import MNIST
from gaa_core.distributed import RayEngine
from gaa_core.simulator import Simulation

pytest.importorskip("ray", reason="Ray is not installed: pip install 'gaa-core[distributed]'")
sys.path.append(str(Path(__file__).parents[2] / "notebooks/cluster"))  # what the notebook on clusters uses, too

from failing_workers import IdleEngine, measure_rounds
from local_cluster import LocalCluster


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(nodes=1, cpus=2, object_store_bytes=400_000_000) as cluster:
        yield cluster


@pytest.mark.parametrize("transport", ["full", "float16"])
def test_megabytes_of_submissions_a_second(cluster, transport, benchmark):
    n, d = 4, 1_000_000
    with IdleEngine(workers=n, address=cluster.address, transport=transport, timeout_s=60.0) as engine:
        seconds = measure_rounds(engine, n, d, rounds=100)
        steps, theta, byzantine = itertools.count(1000), torch.zeros(d), torch.zeros(n, dtype=torch.bool)
        benchmark.pedantic(lambda: engine.ask(theta, next(steps), None, byzantine), rounds=5)
    megabytes = 4e-6 * n * d  # of float32 that reach the rule
    benchmark.extra_info |= {"best": megabytes / seconds.min(), "median": megabytes / float(np.median(seconds))}
    print(f"\n{transport}, n={n}, d={d}, MB/s: {benchmark.extra_info}")


@pytest.mark.parametrize("n", [4, 8, 16])
def test_overhead_over_the_local_engine(cluster, n, benchmark):
    torch.set_num_threads(1)
    options = {"n": n, "steps": 10_000, "batch_size": 64, "eval_every": 10_000}
    with RayEngine(workers=n, address=cluster.address, timeout_s=60.0) as engine:
        runs = {
            "ray": Simulation(MNIST, Mean(), engine=engine, **options),
            "local": Simulation(MNIST, Mean(), **options),
        }
        for _ in range(60):  # interleaved
            for run in runs.values():
                run.advance()
        benchmark.pedantic(runs["ray"].advance, rounds=5)
        medians = {name: 1e3 * float(run.trace().steps["seconds"].iloc[5:].median()) for name, run in runs.items()}
        least = {f"least {name}": 1e3 * float(run.trace().steps["seconds"].min()) for name, run in runs.items()}
    benchmark.extra_info |= medians | least
    print(f"\nn={n}, milliseconds a step: {benchmark.extra_info}")
