"""Faults on order, so that what the server does about them can be seen and tested: workers that die, hang or babble."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from gaa_core.errors import GaaError, UnknownName

KINDS = ("die", "hang", "stale", "shape", "dtype", "huge", "smuggle", "nan", "babble")


@dataclass(frozen=True)
class Fault:
    """Worker `worker` misbehaves at `steps` (None: at every one).

    `die` is a kill -9 of its own process; `hang` answers `seconds` late; `stale` answers for the step before: for the
    second time, or too late; `shape`, `dtype`, `nan` send what the name says; `huge` sends 100 times the bytes,
    `smuggle` does and claims the right number; `babble` says nonsense of its answer.
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

    def strikes(self, worker: int, step: int) -> bool:
        """Whether it is this worker's turn."""
        return worker == self.worker and (self.steps is None or step in self.steps)

    def before(self) -> None:
        """What happens before anything is computed."""
        if self.kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "hang":
            time.sleep(self.seconds)

    def after(self, header: object, body: np.ndarray) -> tuple[object, np.ndarray]:
        """What becomes of the answer: header (step, dtype, shape, bytes, scale, loss) and body [d]."""
        step, *rest = header
        if self.kind == "stale":
            return (step - 1, *rest), body
        if self.kind == "babble":
            return "trust me", body
        changed = {
            "shape": lambda: body[:-1],
            "dtype": lambda: body.astype(np.int64),
            "huge": lambda: np.tile(body, 100),
            "smuggle": lambda: np.tile(body, 100),
            "nan": lambda: np.full_like(body, np.nan),
        }
        if self.kind not in changed:
            return header, body
        other = changed[self.kind]()
        if self.kind == "smuggle":
            return header, other
        return (step, str(other.dtype), other.shape, other.nbytes, *rest[3:]), other
