"""One training round, against the ordinary thing: a large-batch step on the same samples. `make bench`; no verdicts.

    pytest tests/benchmarks/test_rounds.py --benchmark-only

Ratios are taken between calls that are interleaved in one process, so that a slow moment of the machine hits both.
"""

import time

import pytest
import torch

from gaa_core.aggregators import GAA, Mean
from gaa_core.cases import REGISTRY
from gaa_core.simulator import Simulation

CASES = sorted(REGISTRY)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def best(calls: dict, repeats: int = 30) -> dict[str, float]:
    """The least milliseconds of each call, interleaved."""
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            least[name] = min(least[name], 1e3 * (time.perf_counter() - start))
    return least


def large_batch_step(simulation: Simulation):
    """Forward, backward and SGD step of the plain network on all workers' samples together."""
    network = simulation.case.model(simulation.data)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    inputs, targets = simulation.engine.batch(0)
    inputs, targets = inputs.flatten(0, 1), targets.flatten(0, 1)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()

    return step


@pytest.mark.parametrize("name", CASES)
def test_gradient_stage_against_a_large_batch_step(name, benchmark):
    simulation = Simulation(REGISTRY[name], Mean(), method="auto")
    inputs, targets = simulation.engine.batch(0)
    model, theta = simulation.server.model, simulation.server.parameters
    simulation.engine.gradients(theta, 0, None, simulation.roles(0))  # chooses the method
    times = best(
        {
            "workers": lambda: model.worker_gradients(theta, inputs, targets, simulation.engine.method),
            "large batch": large_batch_step(simulation),
        }
    )
    benchmark.extra_info |= times | {"ratio": times["workers"] / times["large batch"]}
    print(f"\n{name}: {simulation.engine.method}, workers / large batch = {benchmark.extra_info['ratio']:.2f}")
    benchmark.pedantic(
        lambda: model.worker_gradients(theta, inputs, targets, simulation.engine.method), rounds=5, iterations=1
    )


@pytest.mark.parametrize("name", CASES)
def test_gaa_step_against_the_mean_s_step(name, benchmark):
    runs = {repr(rule): Simulation(REGISTRY[name], rule, steps=10_000, eval_every=10_000) for rule in (Mean(), GAA())}
    for simulation in runs.values():
        simulation.advance()
    times = best({label: simulation.advance for label, simulation in runs.items()}, repeats=40)
    # The agent learns at every fifth step only: its fair time is a mean over steps, not the least.
    start = time.perf_counter()
    for _ in range(50):
        runs["GAA()"].advance()
    middle = time.perf_counter()
    for _ in range(50):
        runs["Mean()"].advance()
    mean_ratio = (middle - start) / (time.perf_counter() - middle)
    benchmark.extra_info |= times | {"ratio of the least": times["GAA()"] / times["Mean()"], "ratio": mean_ratio}
    print(
        f"\n{name}: GAA step / mean step = {mean_ratio:.2f} "
        f"(least against least: {times['GAA()'] / times['Mean()']:.2f})"
    )
    benchmark.pedantic(runs["GAA()"].advance, rounds=5, iterations=1)
