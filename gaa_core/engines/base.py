"""The shape of an engine: it asks all workers once a step, and says what each of them submitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gaa_core.attacks.base import Attack
from gaa_core.cases.base import Split
from gaa_core.engines.flat import FlatModel
from gaa_core.errors import GaaError

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
