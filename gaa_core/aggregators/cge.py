from dataclasses import dataclass

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import SelectingAggregator, Tolerates


@dataclass(frozen=True)
class CGE(Tolerates, SelectingAggregator):
    """Comparative gradient elimination: the mean of the n-f submissions with the least norms.

    The source adds them up; dividing by n-f only rescales the step size. Sees lengths alone: a reversed gradient of
    honest length passes. Equal norms go by worker number. Needs n >= 2f+1; O(nd).
    Source: Gupta et al. 2021, "Byzantine fault-tolerance in distributed optimization under 2f-redundancy".
    """

    source = "ours: Gupta et al. 2021"

    def choose(self, gradients: Tensor) -> list[int]:  # [n, d] -> [n - f]
        return kernels.norms(gradients).argsort(stable=True)[: len(gradients) - self.f].tolist()
