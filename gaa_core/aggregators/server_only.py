"""ServerOnly: ignore the workers and train on the quasi-validation set."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gaa_core.aggregators.base import LearningAggregator, Server
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class ServerOnly(LearningAggregator):
    """The gradient of f_B, whatever was submitted: a reference that no attack touches.

    A defence that uses the quasi-validation set and ends below this has lost by listening to the workers. Its credits
    are zero.
    """

    source = "ours (reference)"

    _qv_gradient: Tensor | None = field(default=None, init=False, repr=False, compare=False)

    def reset(self, n: int, d: int, generator: torch.Generator) -> None:
        object.__setattr__(self, "_qv_gradient", None)

    def observe(self, server: Server) -> None:
        object.__setattr__(self, "_qv_gradient", server.qv_gradient())

    def decide(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        self._admit(gradients)
        if self._qv_gradient is None:
            raise GaaError("ServerOnly() needs a quasi-validation set: use it in run(...), or call observe first.")
        return self._qv_gradient.to(gradients.dtype), gradients.new_zeros(len(gradients))
