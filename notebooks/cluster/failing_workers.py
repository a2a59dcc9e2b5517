"""Workers that fail on order, and workers that compute nothing: for notebook 09, the tests and the benchmark."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import torch

from gaa_core.cases.base import Split
from gaa_core.distributed import RayEngine
from gaa_core.distributed.cluster import import_ray
from gaa_core.distributed.ray_worker import Work, Worker
from gaa_core.errors import GaaError, UnknownName

#: Faults that change what is sent: the new body.
_BODIES = {
    "shape": lambda body: body[:-1],
    "dtype": lambda body: body.astype(np.int64),
    "nan": lambda body: np.full_like(body, np.nan),
    "huge": lambda body: np.tile(body, 100),
    "smuggle": lambda body: np.tile(body, 100),
}
KINDS = ("die", "hang", "stale", "babble", *_BODIES)


@dataclass(frozen=True)
class Fault:
    """Worker `worker` misbehaves at `steps` (None: at every one).

    `die` is a kill -9 of its own process; `hang` answers `seconds` late; `stale` answers for the step before; `shape`,
    `dtype`, `nan` send what the name says; `huge` sends 100 times the bytes, `smuggle` does so under a header that
    states the right number; the header of `babble` is a sentence.
    """

    kind: str
    worker: int
    steps: tuple[int, ...] | None = None
    seconds: float = 5.0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise UnknownName("fault", str(self.kind), KINDS)
        if self.worker < 0 or not self.seconds >= 0:
            raise GaaError(f"A fault needs worker >= 0 and seconds >= 0; found {self.worker} and {self.seconds}.")

    def before(self) -> None:
        """What happens before anything is computed."""
        if self.kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "hang":
            time.sleep(self.seconds)

    def after(self, header: tuple, body: np.ndarray) -> tuple[object, np.ndarray]:
        """What becomes of the answer: header (step, dtype, shape, bytes, loss) and body [d]."""
        step, *rest = header
        if self.kind == "stale":
            return (step - 1, *rest), body
        if self.kind == "babble":
            return "no header", body
        if self.kind not in _BODIES:
            return header, body
        other = _BODIES[self.kind](body)
        true = (step, str(other.dtype), other.shape, other.nbytes, *rest[3:])
        return (header if self.kind == "smuggle" else true), other


@dataclass(frozen=True, eq=False)
class FaultyWork(Work):
    """Work with the faults on order."""

    faults: tuple[Fault, ...] = ()


class FaultyWorker(Worker):
    """A worker that fails when it is its turn."""

    def load(self, number, work, samples, shard):
        self.faults = work.faults
        return super().load(number, work, samples, shard)

    def submit(self, step, sent):
        mine = [each for each in self.faults if each.worker == self.number and step in (each.steps or (step,))]
        for fault in mine:
            fault.before()
        answer = super().submit(step, sent)
        for fault in mine:
            answer = fault.after(*answer)
        return answer


@dataclass(eq=False)
class FaultyEngine(RayEngine):
    """RayEngine whose workers fail as `faults` say."""

    actor: ClassVar[type] = FaultyWorker
    faults: tuple[Fault, ...] = ()

    def begin(self, *arguments):
        import_ray().cloudpickle.register_pickle_by_value(sys.modules[__name__])  # other nodes do not have this file
        return super().begin(*arguments)

    def work(self, *arguments):
        return FaultyWork(**vars(super().work(*arguments)), faults=tuple(self.faults))


class IdleWorker(Worker):
    """A worker that submits the same numbers at every step."""

    def load(self, number, work, samples, shard):
        self.row = np.random.default_rng(number).standard_normal(work.wire.d, dtype=np.float32)
        return super().load(number, work, samples, shard)

    def submit(self, step, sent):
        return self.wire.pack(step, self.row, 0.0)


@dataclass(eq=False)
class IdleEngine(FaultyEngine):
    """RayEngine whose workers compute nothing: rounds cost what messages cost."""

    actor: ClassVar[type] = IdleWorker

    def work(self, *arguments):
        return RayEngine.work(self, *arguments)


def measure_rounds(engine: IdleEngine, n: int, d: int, rounds: int = 30) -> np.ndarray:
    """Seconds of each of `rounds` rounds (broadcast theta, submit, gather) of n workers with d numbers each."""
    theta, byzantine = torch.zeros(d), torch.zeros(n, dtype=torch.bool)
    model = SimpleNamespace(d=d, dtype=theta.dtype)
    sample = Split(torch.zeros(1, 1), torch.zeros(1, dtype=torch.long))
    engine.begin(model, sample, [torch.zeros(1, dtype=torch.long)] * n, 1, 0, "loop")
    seconds = np.empty(rounds)
    for step in range(-2, rounds):  # the first two touch the memory for the first time
        start = time.perf_counter()
        answers = engine.ask(theta, step + 2, None, byzantine)
        if step >= 0:
            seconds[step] = time.perf_counter() - start
        if (answers.absences > 0).any():
            raise RuntimeError(f"A worker was absent from a round without compute: {engine.absences}")
    engine.end()
    return seconds
