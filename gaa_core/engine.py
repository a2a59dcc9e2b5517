"""Engines: where the workers' submissions come from. An engine asks all workers once a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gaa_core import seeding
from gaa_core.attacks.base import Attack
from gaa_core.cases.base import Split
from gaa_core.errors import GaaError
from gaa_core.models import FlatModel, static_method

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
)


@dataclass
class Answers:
    """What came of asking n workers once.

    A missing submission is a row of NaN, which the finite mask before every rule takes out: credit 0, the others share,
    and one of the rule's declared `f` is used up.
    """

    submissions: Tensor  # [n, d]; an engine may use the same memory again in the next step
    losses: Tensor  # [n], each worker's mean training loss at theta_t
    absences: Tensor | None = None  # int8 [n], positions in ABSENCES; None from engines whose workers cannot fail

    def heard(self, byzantine: Tensor) -> Tensor:
        """The losses [h] of the benign workers that answered."""
        benign = ~byzantine if self.absences is None else ~byzantine & (self.absences == 0)
        return self.losses[benign.to(self.losses.device)]


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
    """What is submitted [n, d]: the computed gradients, with the rows of Byzantine workers forged by the attack."""
    if attack is None or not byzantine.any():
        return computed
    forge = attack.forge if isinstance(attack, Attack) else attack
    own, honest = computed[byzantine], computed[~byzantine]
    forged = forge(own, honest, generator)
    if not isinstance(forged, Tensor) or forged.shape != own.shape:
        found = tuple(forged.shape) if isinstance(forged, Tensor) else type(forged).__name__
        raise GaaError(f"The attack {attack!r} must return a tensor of shape {tuple(own.shape)}; found {found}.")
    submissions = computed.clone()
    submissions[byzantine] = forged.to(computed.dtype)
    return submissions


def absence(reason: str) -> int:
    """The number of a reason."""
    return ABSENCES.index(reason)


@dataclass
class LocalEngine:
    """Per-worker gradients of one step, from each worker's own shard of the training data.

    `method` is "auto" (chosen by `static_method`), "vmap" or "loop".
    """

    model: FlatModel
    train: Split
    shards: list[Tensor]  # n index tensors into the training data
    batch_size: int
    seed: int
    method: str = "auto"
    first: int = 0  # number of the worker that the first shard belongs to

    def __post_init__(self):
        self.shards = [shard.to(self.train.targets.device) for shard in self.shards]
        self._block: tuple[int, Tensor] | None = None

    @property
    def workers(self) -> int:
        """One for each shard."""
        return len(self.shards)

    def ask(self, theta: Tensor, step: int, attack: Attack | None, byzantine: Tensor) -> Answers:
        """What is submitted at theta [d]; everybody answers."""
        computed, losses = self.gradients(theta, step, attack, byzantine)  # [n, d], [n]
        generator = seeding.generator(self.seed, "attack", step)
        return Answers(tamper(attack, computed, byzantine, generator), losses)

    def end(self) -> None:
        """Nothing to let go of."""

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Batches of a step, whatever the attack and the rule: inputs [n, batch, ...], targets [n, batch]."""
        block, offset = divmod(step, BLOCK)
        if self._block is None or self._block[0] != block:
            draws = [self._draw(self.first + i, shard, block) for i, shard in enumerate(self.shards)]
            self._block = (block, torch.stack(draws))
        chosen = self._block[1][:, offset].reshape(-1)  # [n * batch]
        shape = (len(self.shards), self.batch_size)
        inputs = self.train.inputs.index_select(0, chosen)  # five times as quick as indexing with a matrix
        return inputs.view(*shape, *inputs.shape[1:]), self.train.targets.index_select(0, chosen).view(shape)

    def gradients(self, theta: Tensor, step: int, attack: Attack | None, byzantine: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients [n, d] and losses [n] at theta [d]. An attack that poisons changes its workers' batches first;
        one with an objective of its own changes what they minimise.
        """
        inputs, targets = self.batch(step)
        if isinstance(attack, Attack) and type(attack).poison is not Attack.poison and byzantine.any():
            inputs, targets = inputs.clone(), targets.clone()
            inputs[byzantine], targets[byzantine] = attack.poison(inputs[byzantine], targets[byzantine])
        if self.method == "auto":
            self.method = static_method(self.model.network)
        gradients, losses = self.model.worker_gradients(theta, inputs, targets, self.method)
        if isinstance(attack, Attack) and type(attack).objective is not Attack.objective and byzantine.any():
            aims = self.model.minimising(attack.objective)
            own = aims.worker_gradients(theta, inputs[byzantine], targets[byzantine], self.method)
            gradients[byzantine], losses[byzantine] = own
        return gradients, losses

    def _draw(self, worker: int, shard: Tensor, block: int) -> Tensor:
        """Samples of one worker for BLOCK steps, [BLOCK, batch], drawn with replacement from its shard."""
        draw = seeding.generator(self.seed, "batches", worker, block)
        return shard[torch.randint(len(shard), (BLOCK, self.batch_size), generator=draw).to(shard.device)]
