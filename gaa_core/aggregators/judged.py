"""What the rules that use the quasi-validation set have in common."""

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gaa_core.aggregators.base import Aggregator, LearningAggregator, Server
from gaa_core.errors import GaaError

#: Why a rule is exempt from "outliers far from zero".
BOUNDED_BY_SERVER = "bounded by the norm of the server's gradient, not by the benign spread"


@dataclass(frozen=True)
class ServerAggregator(LearningAggregator):
    """A rule that asks the server at each step: implement `decide`."""

    _server: Server | None = field(default=None, init=False, repr=False, compare=False, kw_only=True)

    def reset(self, n: int, d: int, generator: torch.Generator) -> None:
        object.__setattr__(self, "_server", None)

    def observe(self, server: Server) -> None:
        object.__setattr__(self, "_server", server)

    def require_server(self) -> Server:
        """The server of this step; raises GaaError before the first `observe`."""
        if self._server is None:
            raise GaaError(f"{self!r} needs a quasi-validation set: use it in run(...), or call observe first.")
        return self._server


class JudgedAggregator(ServerAggregator):
    """A rule without a memory that evaluates submissions by the server's own data: implement `judge`."""

    @abstractmethod
    def judge(self, gradients: Tensor, server: Server) -> tuple[Tensor, Tensor]:
        """The update [d] and the credits [n] from finite submissions [n, d]."""

    def decide(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        self.require_server()
        return Aggregator.decide(self, gradients)

    def _decide(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        update, credits = self.judge(gradients, self._server)
        return update, credits.to(gradients.dtype)


def share(trust: Tensor) -> Tensor:  # [n] -> [n]
    """Trust, divided by its sum; all zero where the sum is."""
    total = trust.sum()
    return trust / total if total > 0.0 else torch.zeros_like(trust)


def trial_losses(gradients: Tensor, server: Server) -> Tensor:  # [n, d] -> float64 [n]
    """f_B after a step along each submission alone; infinite where it is not a number."""
    theta = server.parameters
    losses = [float(server.qv_loss(theta - server.lr * row.to(theta.dtype))) for row in gradients]
    return torch.tensor(losses, dtype=torch.float64, device=gradients.device).nan_to_num(nan=float("inf"))
