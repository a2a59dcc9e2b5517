"""What a round costs without compute, and what larger ones would: measured bytes and seconds beside the formulas."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from gaa_core.cases.base import Split
from gaa_core.distributed.ray import RayEngine
from gaa_core.distributed.ray_worker import Worker


class Idle(Worker):
    """A worker that submits the same numbers at every step."""

    def load(self, number, work, samples, shard):
        self.number, self.wire = number, work.wire
        self.row = np.random.default_rng(number).standard_normal(work.wire.d, dtype=np.float32)
        return 0, ""

    def submit(self, step, sent):
        return self.wire.pack(step, self.row, 0.0)


class RehearsalEngine(RayEngine):
    """RayEngine whose workers compute nothing."""

    actor: ClassVar[type] = Idle


def measure_rounds(engine: RehearsalEngine, n: int, d: int, rounds: int = 30) -> np.ndarray:
    """Seconds of each of `rounds` rounds (broadcast theta, submit, gather) of n workers with d numbers each."""
    model = SimpleNamespace(d=d, network=None, loss_function=None)
    nothing = Split(torch.zeros(1, 1), torch.zeros(1, dtype=torch.long))
    engine.begin(model, nothing, [torch.zeros(1, dtype=torch.long)] * n, 1, 0, "loop")
    theta, nobody = torch.zeros(d), torch.zeros(n, dtype=torch.bool)
    seconds = np.empty(rounds)
    for step in range(-2, rounds):  # the first two touch the memory for the first time
        start = time.perf_counter()
        answers = engine.ask(theta, step + 2, None, nobody)
        if step >= 0:
            seconds[step] = time.perf_counter() - start
        if (answers.absences > 0).any():
            raise RuntimeError(f"A worker was absent from a rehearsal: {engine.absences}")
    engine.end()
    return seconds


def scale_plan(
    n: int, d: int, *, number_bytes: int = 4, servers: int = 1, sketch: int | None = None, horizon: int = 5
) -> dict[str, float]:
    """Bytes of one step at scale, by formula, and the seconds that they take at 10 and 100 Gbit/s.

    One server: it sends theta to each of n workers (4nd bytes) and receives nd numbers of `number_bytes`; both pass its
    one link, one after the other. It holds the [n, d] buffer in float32, and the agent `horizon` of them. Of S
    `servers` each holds d/S coordinates, and sends and receives 1/S of all on a link of its own; the agent's features,
    products and norms are sums over coordinates, so that the servers exchange n numbers each and decide as one. With
    `sketch` k, workers first send k numbers each and the credits are decided on those; the weighted sum is then formed
    on the way, from worker to worker in a ring (2d numbers through every link), and nobody holds [n, d]. Latencies are
    left out.
    """
    if sketch is None:
        sent, received = 4 * n * d / servers, number_bytes * n * d / servers
        memory = 4 * n * d * (1 + horizon) / servers
    else:
        sent, received = 4.0 * n, number_bytes * n * sketch + (number_bytes * 2 * d)
        memory = 4 * (n * sketch * (1 + horizon) + d)
    seconds = {f"s_at_{rate}_gbit": 8 * (sent + received) / (rate * 1e9) for rate in (10, 100)}
    return {"sent_GB": sent / 1e9, "received_GB": received / 1e9, "memory_GB": memory / 1e9, **seconds}


def scale_table(n: int = 1000, d: int = 1_000_000_000) -> pd.DataFrame:
    """`scale_plan` of the roads there are, a row each: per link and per server."""
    roads = {
        "one server, float32": {},
        "one server, float16": {"number_bytes": 2},
        "100 servers, float32": {"servers": 100},
        "100 servers, float16": {"servers": 100, "number_bytes": 2},
        "sketch of 10,000, ring": {"sketch": 10_000},
    }
    return pd.DataFrame({name: scale_plan(n, d, **road) for name, road in roads.items()}).T
