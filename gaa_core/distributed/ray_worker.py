"""One worker on Ray: a process with its own shard, which computes, tampers if it is Byzantine, and answers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaa_core import seeding
from gaa_core.cases.base import Split
from gaa_core.distributed.cluster import import_ray
from gaa_core.distributed.faults import Fault
from gaa_core.distributed.wire import Header, Wire
from gaa_core.engine import LocalEngine, tamper
from gaa_core.models import FlatModel


@dataclass(frozen=True, eq=False)
class Work:
    """What is the same for all workers of a run."""

    network: torch.nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    batch_size: int
    seed: int
    wire: Wire
    faults: tuple[Fault, ...] = ()


class Worker:
    """Computes what worker `number` of a LocalEngine would: same shard, same batches, same order of sums as its loop.

    `samples` are the arrays (inputs, targets) that the indices in `shard` point into.
    """

    def load(
        self, number: int, work: Work, samples: tuple[np.ndarray, np.ndarray], shard: np.ndarray
    ) -> tuple[int, str]:
        """Become worker `number` of a run. Its process id, and the address of the node that it is on: it is there."""
        torch.set_num_threads(1)
        self.number, self.seed, self.wire, self.faults = number, work.seed, work.wire, work.faults
        train, model = Split(*map(from_shared, samples)), FlatModel(work.network, work.loss)
        shards = [from_shared(shard)]
        self.local = LocalEngine(model, train, shards, work.batch_size, work.seed, "loop", first=number)
        self.loss = float("nan")
        return os.getpid(), import_ray().util.get_node_ip_address()

    def submit(self, step: int, sent: tuple) -> tuple[object, np.ndarray]:
        """Header and body for this step: its gradient; if Byzantine, what an attack that needs no others makes of it.

        `sent` is what the server broadcast: theta [d], the attack, bool [n] who is Byzantine, and whether attackers
        forge together: then what a Byzantine worker computed waits for `conspire`.
        """
        theta, attack, byzantine, together = sent
        fault = next((fault for fault in self.faults if fault.strikes(self.number, step)), None)
        if fault is not None:
            fault.before()
        mine = torch.tensor([bool(byzantine[self.number])])
        gradient, losses = self.local.gradients(from_shared(theta), step, attack, mine)  # [1, d], [1]
        self.loss = float(losses[0])
        if not together:
            gradient = tamper(attack, gradient, mine, seeding.generator(self.seed, "attack", step, self.number))
        header, body = self.wire.pack(step, gradient[0].numpy(), self.loss)
        return (header, body) if fault is None else fault.after(header, body)

    def conspire(
        self, step: int, sent: tuple, numbers: list[int], headers: list[Header], *bodies: np.ndarray
    ) -> tuple[Header, np.ndarray]:
        """Header and body of its share of what the Byzantine workers forge together.

        `numbers` are the workers, in order, whose gradients came through the collusion channel; its own is among them.
        """
        _, attack, byzantine, _ = sent
        rows = np.empty((len(bodies), self.wire.d), dtype=np.float32)
        for row, header, body in zip(rows, headers, bodies, strict=True):
            self.wire.unpack(header, body, row)
        liars = torch.from_numpy(np.asarray(byzantine)[numbers])
        forged = tamper(attack, torch.from_numpy(rows), liars, seeding.generator(self.seed, "attack", step))
        return self.wire.pack(step, forged[numbers.index(self.number)].numpy(), self.loss)


def from_shared(array: np.ndarray) -> Tensor:
    """A tensor on the same memory. Ray's shared memory is read-only, which torch warns of; nobody here writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
