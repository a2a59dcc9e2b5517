from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import WeightedAggregator, check_count


@dataclass(frozen=True)
class MoNNA(WeightedAggregator):
    """The mean of the n-f submissions nearest to that of one trusted worker, the pivot, which counts itself.

    Made for peers without a server, where each takes its own gradient as the pivot. On a server `pivot` must be known
    to be honest: a Byzantine pivot decides everything. Needs n >= 2f+1; O(nd).
    Source: Farhadkhani et al. 2023, "Robust collaborative learning with linear gradient overhead".
    """

    f: int
    pivot: int = 0
    source: ClassVar[str] = "ours: Farhadkhani et al. 2023"

    def __post_init__(self) -> None:
        check_count(self, "f", self.f)
        check_count(self, "pivot", self.pivot)

    def needs(self) -> int:
        return max(2 * self.f + 1, self.pivot + 1)

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        keep = len(gradients) - self.f
        nearest = kernels.distances_to(gradients, gradients[self.pivot]).argsort(stable=True)[:keep]
        weights = gradients.new_zeros(len(gradients))
        weights[nearest] = 1.0 / keep
        return weights
