from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import Server
from gaa_core.aggregators.judged import BOUNDED_BY_SERVER, JudgedAggregator, share
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class ZenoPlusPlus(JudgedAggregator):
    """The mean of the submissions U_i, at the norm of v = grad f_B, with lr <v, U_i> - rho |U_i|^2 >= -lr epsilon.

    The source takes submissions one at a time as they arrive and renews v now and then; here all of a step are tested
    against the same fresh v (ours). When none passes the update is zero. For any number of Byzantine workers; O(nd).
    Source: Xie et al. 2020, "Zeno++: robust fully asynchronous SGD".
    """

    rho: float = 0.0005
    epsilon: float = 0.0
    source = "ours: Xie et al. 2020 (synchronous)"
    exempt = {"outliers far from zero": BOUNDED_BY_SERVER}

    def __post_init__(self) -> None:
        if not (self.rho >= 0.0 and self.epsilon >= 0.0):
            raise GaaError(
                f"ZenoPlusPlus needs rho and epsilon of 0 or more; found rho={self.rho!r}, epsilon={self.epsilon!r}."
            )

    def judge(self, gradients: Tensor, server: Server) -> tuple[Tensor, Tensor]:
        reference = server.qv_gradient().to(gradients.dtype)
        length = kernels.norms(reference[None])
        gain = kernels.cosines(gradients, reference) * length.square()  # <v, V_i> with |V_i| = |v|
        passed = server.lr * gain - self.rho * length.square() >= -server.lr * self.epsilon
        trust = share(passed.double())
        own = kernels.norms(gradients)
        scale = torch.where(own > 0.0, length / own, 0.0)
        return (trust * scale).to(gradients.dtype) @ gradients, trust
