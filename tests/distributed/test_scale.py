"""The memory plan: formulas by hand, and against what a small cluster really moves."""

import pytest
import torch

from gaa_core.aggregators import GAA
from gaa_core.distributed.ray_worker import Work
from gaa_core.distributed.rehearsal import Idle, RehearsalEngine, measure_rounds, scale_plan, scale_table
from gaa_core.distributed.wire import SLACK, Wire


def test_the_plan_by_hand():
    plan = scale_plan(1000, 1_000_000_000)
    assert plan["sent_GB"] == plan["received_GB"] == 4000
    assert plan["s_at_10_gbit"] == 6400
    assert plan["s_at_100_gbit"] == 640
    assert plan["memory_GB"] == 24_000
    halves = scale_plan(1000, 1_000_000_000, number_bytes=2, servers=100)
    assert halves["received_GB"] == 20
    assert halves["s_at_10_gbit"] == pytest.approx(48)
    sketched = scale_table().loc["sketch of 10,000, ring"]
    assert sketched["received_GB"] == pytest.approx(8.04)
    assert sketched["memory_GB"] < 5


@pytest.mark.parametrize("transport", ["float32", "float16"])
def test_a_submission_has_the_bytes_of_the_formula(transport):
    worker = Idle()
    worker.load(0, Work(None, None, 1, 0, Wire(1000, transport)), None, None)
    header, body = worker.submit(0, None)
    plan = scale_plan(1, 1000, number_bytes=2 if transport == "float16" else 4)
    assert body.nbytes == header[3] == plan["received_GB"] * 1e9


def test_the_agent_holds_the_memory_of_the_formula():
    rule, n, d = GAA(), 6, 5000

    class Server:
        lr, step, parameters = 0.1, 0, torch.zeros(d)

        def qv_loss(self, parameters=None):
            return 1.0

        def qv_gradient(self, parameters=None):
            return torch.ones(d)

    rule.reset(n, d, torch.Generator().manual_seed(0))
    for _ in range(rule.horizon):
        rule.observe(Server())
        rule.decide(torch.randn(n, d))
    held = sum(rows.nbytes for rows in rule._state.submissions) + 4 * n * d  # and the engine's buffer
    assert held == scale_plan(n, d)["memory_GB"] * 1e9


@pytest.mark.slow
def test_rounds_move_what_the_formula_says(cluster):
    import ray

    with RehearsalEngine(workers=2, address=cluster.address, timeout_s=60.0) as engine:
        seconds = measure_rounds(engine, 2, 300_000, rounds=5)
        refs = engine.seats[0].actor.submit.options(num_returns=2).remote(9, None)
        ray.get(refs[0])
        size = ray.experimental.get_object_locations(refs)[refs[1]]["object_size"]
    assert (seconds > 0).all()
    assert 1.2e6 <= size <= 1.2e6 + SLACK
    assert engine._buffer.isfinite().all()
