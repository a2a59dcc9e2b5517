"""RayEngine: every worker a process of its own, on this machine or on many. One that gives no proper answer is absent.

The parameter server is the process that calls `run`. A step is: theta is put into the object store once, every worker
is asked, and each answer is a small header, which is checked, then a body, whose real size is checked before it is
fetched and copied into the server's one [n, d] buffer. Nothing that a worker does makes the server wait longer than the
timeout. Ray moves Python objects, so who may join a cluster is a matter of its token, not of this file.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from gaa_core import seeding
from gaa_core.attacks.base import Attack
from gaa_core.cases.base import Split
from gaa_core.distributed.cluster import connect, import_ray
from gaa_core.distributed.ray_round import Round, Seat
from gaa_core.distributed.ray_worker import Wire, Work, Worker, fingerprint
from gaa_core.engine import ABSENCES, Answers, tamper
from gaa_core.errors import GaaError
from gaa_core.models import FlatModel


@dataclass(eq=False)
class RayEngine:
    """`run(..., engine=RayEngine(workers=4))`: workers are Ray actors; equal seeds give the trace of the local engine.

    `workers` is their number (None: the run's n). `address` None starts a cluster on this machine, with `cpus` (None:
    all) and an object store of `object_store_bytes`; "auto" or "host:port" joins one; a process that is connected to
    Ray already stays so. A worker that has not answered `timeout_s` after the step began is absent from it. A worker
    that is absent for any reason is started anew, at once the first time, then ever later while it does no better, and
    rejoins at the step that runs when it is ready. `start_s` is how long the first start may take. What attackers forge
    from the submissions of others is computed at the server, from those that came.

    Workers get their samples from the server, whatever data their machine has; a worker whose samples or torch version
    differ ends the run (GaaError).

    After a run `absences` counts what happened, by reason, and `complaint` is the last error that a worker raised. The
    processes stay for the next run of the same engine; `close()` or a `with` block dismisses them, and stops a cluster
    that was started here.
    """

    actor: ClassVar[type] = Worker  # what runs in each process

    workers: int | None = None
    address: str | None = None
    timeout_s: float = 30.0
    cpus: int | None = None
    object_store_bytes: int = 200_000_000
    start_s: float = 180.0
    seats: list[Seat] = field(default_factory=list, init=False, repr=False)
    absences: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    complaint: str = field(default="", init=False, repr=False)
    _owner: bool = field(default=False, init=False, repr=False)
    _connection: str = field(default="", init=False, repr=False)

    def __post_init__(self):
        if self.workers is not None and (not isinstance(self.workers, int) or self.workers < 1):
            raise GaaError(f"RayEngine needs workers to be a whole number of at least 1; found {self.workers!r}.")
        if not (self.timeout_s > 0 and self.start_s > 0):
            raise GaaError(f"RayEngine needs timeouts above 0 s; found {self.timeout_s!r} and {self.start_s!r}.")

    def begin(
        self, model: FlatModel, train: Split, shards: list[Tensor], batch_size: int, seed: int, method: str
    ) -> RayEngine:
        """Connect, share out the samples and wait for all workers. They compute one by one: `method` is not asked."""
        if self.workers is not None and self.workers != len(shards):
            raise GaaError(f"{self!r} has {self.workers} workers, and the run n={len(shards)}: they must be equal.")
        self._owner = connect(self.address, self.cpus, self.object_store_bytes) or self._owner
        ray = import_ray()
        context = ray.get_runtime_context()
        connection = f"{context.gcs_address} {context.get_job_id()}"
        if connection != self._connection:  # earlier processes were on another cluster, or called by another process
            self.seats, self._connection = [], connection
        self.absences, self.complaint, self._seed = dict.fromkeys(ABSENCES[1:], 0), "", seed
        self._wire = Wire(model.d, str(model.dtype).removeprefix("torch."))
        self._buffer = torch.full((len(shards), model.d), torch.nan, dtype=model.dtype)
        work = ray.put(self.work(model, batch_size, seed))
        actor = ray.remote(num_cpus=0, scheduling_strategy="SPREAD", max_restarts=0)(self.actor)
        while len(self.seats) > len(shards):
            self.seats.pop().leave()
        self.seats += [Seat(actor) for _ in range(len(self.seats), len(shards))]
        for number, (data, samples, shard) in enumerate(_put_samples(train, shards)):
            self.seats[number].assign(data, number, work, samples, shard)
        self._wait_for_all(time.monotonic() + self.start_s)
        return self

    def work(self, model: FlatModel, batch_size: int, seed: int) -> Work:
        """What all workers of a run are told."""
        return Work(model, batch_size, seed, self._wire, torch.get_default_dtype())

    def ask(self, theta: Tensor, step: int, attack: Attack | None, byzantine: Tensor) -> Answers:
        """All submissions at theta, or NaN and the reason; at most `timeout_s`."""
        current = Round(self.seats, self._wire, self._buffer, step, self.timeout_s)
        alone = isinstance(attack, Attack) and (not attack.colludes or type(attack).forge is Attack.forge)
        together = attack is not None and not alone and bool(byzantine.any())
        sent = import_ray().put((theta.detach().cpu().numpy(), attack, byzantine.numpy(), together))
        answers = current.answers(sent)
        if together:
            there = answers.absences == 0
            draws = seeding.generator(self._seed, "attack", step)
            answers.submissions[there] = tamper(attack, answers.submissions[there], byzantine[there], draws)
        self.complaint = current.complaint or self.complaint
        for number in answers.absences[answers.absences > 0].tolist():
            self.absences[ABSENCES[number]] += 1
        answers.submissions = answers.submissions.to(theta.device)
        return answers

    def nodes(self) -> list[str]:
        """The address of each worker's machine."""
        return [seat.node for seat in self.seats]

    def end(self) -> None:
        """The run is over. The workers stay for the next run of this engine."""

    def close(self) -> None:
        """Dismiss the workers, and stop the cluster if it was started here."""
        ray = import_ray()
        if ray.is_initialized():
            for seat in self.seats:
                seat.leave()
        self.seats = []
        if self._owner:
            ray.shutdown()
            self._owner = False

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _wait_for_all(self, deadline: float) -> None:
        ray = import_ray()
        missing = list(self.seats)
        while missing and time.monotonic() < deadline:
            arriving = [seat.arriving for seat in missing if seat.arriving is not None]
            if arriving:
                ray.wait(arriving, timeout=max(0.0, min(1.0, deadline - time.monotonic())))
            missing = [seat for seat in missing if not seat.is_ready()]
        if missing:
            why = next((f" One of them: {seat.complaint}" for seat in missing if seat.complaint), "")
            self.close()
            raise GaaError(f"{len(missing)} of the workers did not start within start_s={self.start_s} s.{why}")


def _put_samples(train: Split, shards: list[Tensor]) -> list[tuple[str, object, object]]:
    """For each worker the fingerprint of its data, its samples in the object store, and its index into them: one copy
    for all where they share them (iid), else to each its own alone.
    """
    ray = import_ray()
    try:
        inputs, targets = train.inputs.cpu().numpy(), train.targets.cpu().numpy()
    except TypeError as error:
        raise GaaError(f"RayEngine cannot send samples of {train.inputs.dtype}, {train.targets.dtype}.") from error
    shards = [shard.cpu().numpy() for shard in shards]

    def put(inputs, targets, shard) -> tuple[str, object, object]:
        return fingerprint(inputs, targets, shard), ray.put((inputs, targets)), ray.put(shard)

    if all(np.array_equal(shard, shards[0]) for shard in shards):
        return [put(inputs, targets, shards[0])] * len(shards)
    return [put(inputs[shard], targets[shard], np.arange(len(shard))) for shard in shards]
