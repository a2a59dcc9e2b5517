from dataclasses import dataclass

from torch import Tensor

from gaa_core.aggregators.judged import ServerAggregator
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class Oracle(ServerAggregator):
    """The mean of the truly benign submissions: a reference, not a defence. The simulator tells it the roles.

    The gap to it is what a defence loses by not knowing; its own gap to no attack is what fewer workers cost. A step
    without a benign worker is skipped (the update is zero).
    """

    source = "ours (reference)"

    def decide(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        _, finite, _ = self._admit(gradients)
        if self._server is None or self._server.byzantine is None:
            raise GaaError("Oracle() must be told the roles: use it in run(...).")
        trusted = finite & ~self._server.byzantine.to(finite.device)
        credits = trusted / trusted.sum().clamp_min(1)
        return credits[trusted].to(gradients.dtype) @ gradients[trusted], credits.to(gradients.dtype)
