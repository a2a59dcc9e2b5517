"""Oracle: what a server could do that knew who lies."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gaa_core.aggregators.base import LearningAggregator, Server
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class Oracle(LearningAggregator):
    """The mean of the truly benign submissions: a reference, not a defence. It is told the roles.

    The gap to it is what a defence loses by not knowing; its own gap to no attack is what fewer workers cost. A step
    without a benign worker is skipped (the update is zero).
    """

    source = "ours (reference)"

    _byzantine: Tensor | None = field(default=None, init=False, repr=False, compare=False)

    def reset(self, n: int, d: int, generator: torch.Generator) -> None:
        object.__setattr__(self, "_byzantine", None)

    def observe(self, server: Server) -> None:
        object.__setattr__(self, "_byzantine", server.byzantine)

    def decide(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        _, finite, _ = self._admit(gradients)
        if self._byzantine is None:
            raise GaaError("Oracle() must be told the roles: use it in run(...).")
        trusted = finite & ~self._byzantine.to(finite.device)
        credits = trusted / trusted.sum().clamp_min(1)
        return credits[trusted].to(gradients.dtype) @ gradients[trusted], credits.to(gradients.dtype)
