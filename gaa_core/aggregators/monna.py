from dataclasses import dataclass

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import SelectingAggregator, Tolerates, check_count


@dataclass(frozen=True)
class MoNNA(Tolerates, SelectingAggregator):
    """The mean of the n-f submissions nearest to that of one trusted worker, the pivot, which counts itself.

    Made for peers without a server, where each takes its own gradient as the pivot. On a server `pivot` must be known
    to be honest: a Byzantine pivot decides everything. Needs n >= 2f+1; O(nd).
    Source: Farhadkhani et al. 2023, "Robust collaborative learning with linear gradient overhead".
    """

    pivot: int = 0
    source = "ours: Farhadkhani et al. 2023"
    exempt = {"row order": "the worker at place `pivot` is trusted"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self, "pivot", self.pivot)

    def needs(self) -> int:
        return max(2 * self.f + 1, self.pivot + 1)

    def choose(self, gradients: Tensor) -> list[int]:  # [n, d] -> [n - f]
        distances = kernels.distances_to(gradients, gradients[self.pivot])
        return distances.argsort(stable=True)[: len(gradients) - self.f].tolist()
