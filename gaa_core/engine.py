"""Engines: where the workers' submissions come from. An engine asks all workers once a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gaa_core import seeding
from gaa_core.attacks.base import Attack
from gaa_core.cases.base import Split
from gaa_core.errors import GaaError, blame
from gaa_core.models import FlatModel

#: Batches are drawn for this many steps at a time: a generator per (worker, block) makes every step addressable.
BLOCK = 50

#: Why a worker's submission is missing at a step; 0 is "it is there". Traces keep the numbers and the names.
ABSENCES = (
    "present",
    "died",  # its process or its node is gone
    "timeout",  # no answer within the engine's timeout
    "late",  # an answer for an earlier step
    "twice",  # an answer for a step that it had answered before
    "shape",  # not [d] numbers
    "dtype",  # numbers of another kind
    "size",  # more bytes than a submission has, claimed or real; never fetched
    "nonfinite",  # a NaN or an infinity
    "error",  # it raised, or what it says of its answer makes no sense
    "restarting",  # not back yet after one of the above
    "unasked",  # did not take part in this step, by the run's `participation`
)


@dataclass(frozen=True)
class Training:
    """What a worker does with its gradients before it submits. The defaults are the paper's: nothing.

    With `momentum` b it submits m_t = b m_{t-1} + (1 - b) g_t, m_{-1} = 0 (Karimireddy et al. 2021, section 4). With
    `local_steps` k it takes k steps of size `local_lr` from theta and submits (theta - theta_k) / local_lr, the sum of
    the gradients on its way (FedAvg, McMahan et al. 2017). `participation` is the share of workers drawn for a step, or
    a schedule (step) -> bool [n]; an absent worker keeps its momentum. `compress` maps a row [d] to a row [d].
    """

    momentum: float = 0.0
    local_steps: int = 1
    participation: float | Callable[[int], Tensor] = 1.0
    compress: Callable[[Tensor], Tensor] | None = None
    local_lr: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise GaaError(f"worker_momentum must be from 0 to below 1; found {self.momentum}.")
        if self.local_steps < 1:
            raise GaaError(f"local_steps must be 1 or more; found {self.local_steps}.")
        if not callable(self.participation) and not 0 < self.participation <= 1:
            raise GaaError(f"participation must be a share above 0 and up to 1; found {self.participation}.")

    def present(self, step: int, n: int, seed: int) -> Tensor | None:
        """bool [n], who takes part in a step; None where all do."""
        if callable(self.participation):
            with blame("The schedule of participation", self.participation):
                found = self.participation(step)
            if not isinstance(found, Tensor) or found.dtype != torch.bool or found.shape != (n,) or not found.any():
                raise GaaError(f"participation must give a bool tensor [{n}] with a True in it; at {step}: {found}.")
            return found
        if self.participation == 1:
            return None
        chosen = torch.randperm(n, generator=seeding.generator(seed, "participation", step))
        found = torch.zeros(n, dtype=torch.bool)
        found[chosen[: max(1, round(self.participation * n))]] = True
        return found


@dataclass
class Answers:
    """What came of asking n workers once.

    A missing submission is a row of NaN, which the finite mask before every rule takes out: credit 0, the others share,
    and one of the rule's declared `f` is used up. A worker that was not asked uses up none.
    """

    submissions: Tensor  # [n, d]; an engine may use the same memory again in the next step
    losses: Tensor  # [n], each worker's mean training loss at theta_t
    absences: Tensor | None = None  # int8 [n], positions in ABSENCES; None from engines whose workers cannot fail

    def benign_loss(self, byzantine: Tensor) -> float:
        """The mean loss of the benign workers that answered; NaN where there is none."""
        left_out = byzantine if self.absences is None else byzantine | (self.absences != 0)
        kept = [loss for loss, out in zip(self.losses.tolist(), left_out.tolist(), strict=True) if not out]
        return sum(kept) / len(kept) if kept else math.nan

    def asked(self) -> Tensor | None:
        """bool [n], who took part in this step; None where all did."""
        if self.absences is None or not (self.absences == absence("unasked")).any():
            return None
        return self.absences != absence("unasked")


class Engine(Protocol):
    """Where submissions come from. `workers` is how many there are, or None for as many as the run has."""

    workers: int | None

    def begin(
        self, model: FlatModel, train: Split, shards: list[Tensor], batch_size: int, seed: int, method: str
    ) -> Engine:
        """Get ready for a run: worker i draws its batches from the samples `shards[i]` of `train`. Returns itself."""

    def ask(self, theta: Tensor, step: int, attack: Attack | None, byzantine: Tensor) -> Answers:
        """What is submitted at theta [d]: honest gradients, with those of Byzantine workers forged by the attack."""

    def end(self) -> None:
        """The run is over: let the workers go."""


def tamper(attack, computed: Tensor, byzantine: Tensor, generator: torch.Generator) -> Tensor:
    """What is submitted [n, d]: the computed gradients, with the rows of Byzantine workers forged by the attack.

    Writes into `computed`.
    """
    if attack is None or not byzantine.any():
        return computed
    forge = attack.forge if isinstance(attack, Attack) else attack
    local = isinstance(attack, Attack) and not attack.colludes  # looks at its own row alone
    own, honest = computed[byzantine], computed[:0] if local else computed[~byzantine]
    with blame("The attack", attack):
        forged = forge(own, honest, generator)
    if not isinstance(forged, Tensor) or forged.shape != own.shape:
        found = tuple(forged.shape) if isinstance(forged, Tensor) else type(forged).__name__
        raise GaaError(f"The attack {attack!r} must return a tensor of shape {tuple(own.shape)}; found {found}.")
    computed[byzantine] = forged.to(computed)
    return computed


def absence(reason: str) -> int:
    """The number of a reason."""
    return ABSENCES.index(reason)


@dataclass
class LocalEngine:
    """All workers in this process: their gradients at once, each from its own shard of the training data.

    `method` is one of `models.METHODS`.
    """

    model: FlatModel
    train: Split
    shards: list[Tensor]  # n index tensors into the training data
    batch_size: int
    seed: int
    method: str = "vmap"
    first: int = 0  # number of the worker that the first shard belongs to
    training: Training = Training()

    def __post_init__(self):
        self.shards = [shard.to(self.train.targets.device) for shard in self.shards]
        self._block: tuple[int, Tensor] | None = None
        self._momentum: Tensor | None = None  # [n, d]

    @property
    def workers(self) -> int:
        """One for each shard."""
        return len(self.shards)

    def ask(self, theta: Tensor, step: int, attack: Attack | None, byzantine: Tensor) -> Answers:
        """What is submitted at theta [d] by the workers that take part in the step."""
        computed, losses = self.gradients(theta, step, attack, byzantine)  # [n, d], [n]
        present = self.training.present(step, self.workers, self.seed)
        if self.training.momentum:
            computed = self._with_momentum(computed, present)
        if self.training.compress is not None:
            computed = torch.stack([self._compressed(row) for row in computed])
        generator = None if attack is None else seeding.generator(self.seed, "attack", step)
        if present is None:
            return Answers(tamper(attack, computed, byzantine, generator), losses)
        submissions = torch.full_like(computed, torch.nan)
        submissions[present] = tamper(attack, computed[present], byzantine[present], generator)
        absences = torch.where(present, 0, absence("unasked")).to(torch.int8)
        return Answers(submissions, losses, absences)

    def end(self) -> None:
        """Nothing to let go of."""

    def state(self) -> dict:
        """What the workers remember between two steps."""
        return {"momentum": self._momentum}

    def load_state(self, state: dict) -> None:
        """Go on from there."""
        self._momentum = state["momentum"]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Batches of a step, whatever the attack and the rule: inputs [n, batch, ...], targets [n, batch, ...]."""
        block, offset = divmod(step, BLOCK)
        if self._block is None or self._block[0] != block:
            draws = [self._draw(self.first + i, shard, block) for i, shard in enumerate(self.shards)]
            self._block = (block, torch.cat(draws, dim=1))  # [BLOCK, n * batch]
        chosen = self._block[1][offset]
        shape = (len(self.shards), self.batch_size)
        samples = (self.train.inputs, self.train.targets)
        # index_select is five times as quick as indexing with a matrix
        return tuple(each.index_select(0, chosen).view(*shape, *each.shape[1:]) for each in samples)

    def gradients(self, theta: Tensor, step: int, attack: Attack | None, byzantine: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients [n, d] and losses [n] at theta [d]; with local steps their sums on each worker's own way.

        An attack that poisons changes its workers' batches first; one with an objective of its own changes what they
        minimise.
        """
        steps, rate = self.training.local_steps, self.training.local_lr
        if steps == 1:
            return self._gradients(theta, step, attack, byzantine)
        total, losses = theta.new_zeros(self.workers, self.model.d), []
        for local in range(steps):
            where = theta - rate * total if local else theta
            found, loss = self._gradients(where, step * steps + local, attack, byzantine)
            total += found
            losses.append(loss)
        return total, torch.stack(losses).mean(dim=0)

    def _gradients(self, theta: Tensor, step: int, attack: Attack | None, byzantine: Tensor) -> tuple[Tensor, Tensor]:
        inputs, targets = self.batch(step)
        attacked = isinstance(attack, Attack) and bool(byzantine.any())
        if attacked and type(attack).poison is not Attack.poison:
            inputs, targets = inputs.clone(), targets.clone()
            inputs[byzantine], targets[byzantine] = attack.poison(inputs[byzantine], targets[byzantine])
        seeds = None
        if self.method == "loop":
            seeds = [seeding.derive(self.seed, "layers", self.first + i, step) for i in range(self.workers)]
        gradients, losses = self.model.worker_gradients(theta, inputs, targets, self.method, seeds)
        if attacked and type(attack).objective is not Attack.objective:
            aims, method = self.model.minimising(attack.objective), "vmap" if self.method == "analytic" else self.method
            own = theta if theta.ndim == 1 else theta[byzantine]
            mine = [seed for seed, chosen in zip(seeds, byzantine, strict=True) if chosen] if seeds else None
            found = aims.worker_gradients(own, inputs[byzantine], targets[byzantine], method, mine)
            gradients[byzantine], losses[byzantine] = found
        return gradients, losses

    def _with_momentum(self, computed: Tensor, present: Tensor | None) -> Tensor:
        before = torch.zeros_like(computed) if self._momentum is None else self._momentum
        after = torch.lerp(computed, before, self.training.momentum)
        self._momentum = after if present is None else torch.where(present[:, None], after, before)
        return self._momentum.clone()  # what attackers forge is no memory of theirs

    def _compressed(self, row: Tensor) -> Tensor:
        with blame("The compression", self.training.compress):
            found = self.training.compress(row.clone())
        if not isinstance(found, Tensor) or found.shape != row.shape:
            what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise GaaError(f"compress must return a tensor of shape {tuple(row.shape)}; found {what}.")
        return found.to(row)

    def _draw(self, worker: int, shard: Tensor, block: int) -> Tensor:
        """Samples of one worker for BLOCK steps, [BLOCK, batch], drawn with replacement from its shard."""
        draw = seeding.generator(self.seed, "batches", worker, block)
        return shard[torch.randint(len(shard), (BLOCK, self.batch_size), generator=draw).to(shard.device)]
