from dataclasses import dataclass, field

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import check_count
from gaa_core.aggregators.judged import BOUNDED_BY_SERVER, ServerAggregator
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class ByGARS(ServerAggregator):
    """sum_i q_i U_i, where the reputation q_i follows the inner product of worker i's submissions with grad f_B.

    A step moves q by `rate` towards the cosines U_i . g / |g|^2, n of them sharing the update, with g = grad f_B where
    the step along the present q would lead; `meta_steps=1` at theta itself is ByGARS++. Reputations may be negative: a
    worker that always reverses becomes useful. U_i is the submission at the norm of grad f_B(theta) (ours: the source
    does not rescale, and so needs bounded submissions). q starts at 0. O(nd) a meta-step. Source: Regatti et al. 2020,
    "ByGARS: Byzantine SGD with arbitrary number of attackers".
    """

    rate: float = 0.1
    meta_steps: int = 1
    source = "ours: Regatti et al. 2020"
    exempt = {
        "equal rows": "reputations start at 0 and grow with time",
        "outliers far from zero": BOUNDED_BY_SERVER,
    }

    _reputation: Tensor | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_count(self, "meta_steps", self.meta_steps, least=1)
        if not 0.0 < self.rate <= 1.0:
            raise GaaError(f"ByGARS needs a rate above 0 and at most 1; found {self.rate!r}.")

    def reset(self, n: int, d: int, generator: torch.Generator) -> None:
        super().reset(n, d, generator)
        object.__setattr__(self, "_reputation", torch.zeros(n, dtype=torch.float64))

    def decide(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        _, finite, kept = self._admit(gradients)
        server = self.require_server()
        if self._reputation is None:
            raise GaaError(f"{self!r} must be reset for its number of workers first.")
        if len(self._reputation) != len(gradients):
            raise GaaError(f"{self!r} was reset for {len(self._reputation)} workers; found {len(gradients)}.")
        reputation = self._reputation.to(gradients.device, copy=True)
        reputation[~finite] *= 1.0 - self.rate
        length = kernels.norms(server.qv_gradient()[None]).to(gradients.device)
        own = kernels.norms(kept)
        scale = torch.where(own > 0.0, length / own, 0.0)
        update = gradients.new_zeros(gradients.shape[1])
        for step in range(self.meta_steps):
            ahead = server.parameters - server.lr * update if step else None
            cosines = kernels.cosines(kept, server.qv_gradient(ahead).to(gradients.dtype))
            reputation[finite] += self.rate * (cosines / len(gradients) - reputation[finite])
            update = (reputation[finite] * scale).to(gradients.dtype) @ kept
        object.__setattr__(self, "_reputation", reputation)
        return update, reputation.to(gradients.dtype)
