from dataclasses import dataclass

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import Server, Tolerates
from gaa_core.aggregators.judged import JudgedAggregator, trial_losses
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class Zeno(Tolerates, JudgedAggregator):
    """The mean of the n-f submissions with the greatest descent: f_B(theta) - f_B(theta - lr V_i) - rho |V_i|^2.

    `f` may be anything up to n-1 (the source calls it b): Zeno lives with a Byzantine majority. Equal scores go by
    worker number. n+1 evaluations of f_B a step. Needs n >= f+1.
    Source: Xie et al. 2019, "Zeno: distributed SGD with suspicion-based fault-tolerance".
    """

    rho: float = 0.0005
    source = "ours: Xie et al. 2019"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rho >= 0.0:
            raise GaaError(f"Zeno needs a rho of 0 or more; found {self.rho!r}.")

    def needs(self) -> int:
        return self.f + 1

    def judge(self, gradients: Tensor, server: Server) -> tuple[Tensor, Tensor]:
        costs = trial_losses(gradients, server) + self.rho * kernels.norms(gradients).square()
        best = costs.argsort(stable=True)[: len(gradients) - self.f]
        weights = gradients.new_zeros(len(gradients))
        weights[best] = 1.0 / len(best)
        return weights @ gradients, weights
