"""The local engine: all workers in one process, their gradients computed at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import seeding
from gaa_core.attacks.base import Attack
from gaa_core.cases.base import Split
from gaa_core.engines.base import Answers, tamper
from gaa_core.engines.flat import FlatModel, faster_method

#: Batches are drawn for this many steps at a time: a generator per (worker, block) makes every step addressable.
BLOCK = 50


@dataclass
class LocalEngine:
    """Per-worker gradients of one step, from each worker's own shard of the training data.

    `method` is "auto" (the faster of "vmap" and "loop", measured once), or one of them.
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
            self.method = faster_method(self.model, theta, inputs, targets)
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
