"""One worker on Ray: a process with its own shard, which computes, tampers if it is Byzantine, and answers.

An answer is a small header that says what is coming, then the numbers. The server checks both before it uses them.
"""

import hashlib
import os
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaa_core import seeding
from gaa_core.cases.base import Split
from gaa_core.distributed.cluster import import_ray
from gaa_core.engine import LocalEngine, tamper
from gaa_core.models import FlatModel

#: Bytes that an object may have beside its numbers: Ray's own description of it. A header has no more than these.
SLACK = 4096

Header = tuple[int, str, tuple[int, ...], int, float]  # step, dtype, shape, bytes, loss


@dataclass(frozen=True)
class Wire:
    """How one submission of `d` numbers in the model's `dtype` travels."""

    d: int
    dtype: str = "float32"

    @property
    def nbytes(self) -> int:
        """Bytes of one submission."""
        return self.d * np.dtype(self.dtype).itemsize

    def pack(self, step: int, row: np.ndarray, loss: float) -> tuple[Header, np.ndarray]:
        """Header and body of a submission [d]."""
        return (step, str(row.dtype), row.shape, row.nbytes, loss), row

    def refuse_header(self, header: object, step: int, answered: int) -> str:
        """Why a header is not that of an answer for `step` from a worker that last answered step `answered`, or ""."""
        if not isinstance(header, tuple) or tuple(map(type, header)) != (int, str, tuple, int, float):
            return "error"
        said, dtype, shape, nbytes = header[:4]
        if said != step:
            return "twice" if said <= answered else "late" if said < step else "error"
        if dtype != self.dtype:
            return "dtype"
        if nbytes > self.nbytes:
            return "size"
        return "" if shape == (self.d,) and nbytes == self.nbytes else "shape"

    def refuse_size(self, real: int | None) -> bool:
        """Whether an object of this many bytes, or of an unknown number, must not be fetched."""
        return real is None or real > self.nbytes + SLACK

    def refuse_body(self, body: object) -> str:
        """Why a fetched body is not what its header said, or ""."""
        if not isinstance(body, np.ndarray) or body.shape != (self.d,):
            return "shape"
        return "" if body.dtype == self.dtype else "dtype"


@dataclass(frozen=True, eq=False)
class Work:
    """What is the same for all workers of a run."""

    model: FlatModel
    batch_size: int
    seed: int
    wire: Wire
    default_dtype: torch.dtype = torch.float32  # of the server's process: attacks and losses may create tensors


class Worker:
    """Computes what worker `number` of a LocalEngine would: same shard, same batches, same order of sums as its loop.

    `samples` are the arrays (inputs, targets) that the indices in `shard` point into.
    """

    def load(
        self, number: int, work: Work, samples: tuple[np.ndarray, np.ndarray], shard: np.ndarray
    ) -> tuple[int, str, str]:
        """Become worker `number` of a run: its process id, the address of its node, the fingerprint of its data."""
        torch.set_num_threads(1)
        torch.set_default_dtype(work.default_dtype)
        self.number, self.seed, self.wire = number, work.seed, work.wire
        train, shards = Split(*map(from_shared, samples)), [from_shared(shard)]
        self.local = LocalEngine(work.model, train, shards, work.batch_size, work.seed, "loop", first=number)
        self.loss = float("nan")
        return os.getpid(), import_ray().util.get_node_ip_address(), fingerprint(*samples, shard)

    def submit(self, step: int, sent: tuple) -> tuple[object, np.ndarray]:
        """Header and body for this step: its gradient; if Byzantine, what an attack that needs no others makes of it.

        `sent` is what the server broadcast: theta [d], the attack, bool [n] which workers are Byzantine, and whether
        attackers forge together: then the server forges from what they computed.
        """
        theta, attack, byzantine, together = sent
        mine = torch.tensor([bool(byzantine[self.number])])
        gradient, losses = self.local.gradients(from_shared(theta), step, attack, mine)  # [1, d], [1]
        self.loss = float(losses[0])
        if not together:
            gradient = tamper(attack, gradient, mine, seeding.generator(self.seed, "attack", step, self.number))
        return self.wire.pack(step, gradient[0].numpy(), self.loss)


def from_shared(array: np.ndarray) -> Tensor:
    """A tensor on the same memory. Ray's shared memory is read-only, which torch warns of; it is never written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def fingerprint(*arrays: np.ndarray) -> str:
    """Digest of samples and of the torch version that reads them: equal on two machines, or their runs differ."""
    digest = hashlib.sha256(torch.__version__.encode())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
